//! Core modules: their kinds, and how each is called.

use wasmtime::{Engine, InstancePre, Linker, Module, Store};

use crate::engine::INSTANCE_BYTES;
use crate::entry::{Call, Given, Said};
use crate::wasi::{self, Host};
use crate::{command, core_abi};

/// What of a loaded module is called, by its kind.
pub(crate) enum Entry {
    /// A WASI command.
    Command(InstancePre<Host>),
    /// A module with the core ABI.
    Core(InstancePre<Host>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Command,
    Core,
}

/// What modules may import.
pub(crate) struct Imports(Linker<Host>);

impl Imports {
    /// All that there is.
    ///
    /// # Errors
    /// Never: no name is defined twice.
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = wasi::linker(engine)?;
        core_abi::link(&mut linker)?;
        Ok(Self(linker))
    }

    /// A module that is ready to be called, or why it cannot be a function, for its author.
    pub(crate) fn entry(&self, module: &Module) -> Result<Entry, String> {
        let kind = Kind::of(module)?;
        self.check(module)?;
        let linked = self.0.instantiate_pre(module);
        let linked = linked.map_err(|error| format!("its module cannot be linked: {error:#}"))?;
        Ok(match kind {
            Kind::Command => Entry::Command(linked),
            Kind::Core => Entry::Core(linked),
        })
    }

    /// Whether it asks for nothing that is not there.
    fn check(&self, module: &Module) -> Result<(), String> {
        let mut store = Store::new(self.0.engine(), Host::nobody());
        for import in module.imports() {
            if self.0.get_by_import(&mut store, &import).is_none() {
                return Err(format!(
                    "its module imports {}.{}, which is not there: a function gets what \
                     {} has, and {}.{}",
                    import.module(),
                    import.name(),
                    wasi::MODULE,
                    core_abi::MODULE,
                    core_abi::LOG,
                ));
            }
        }
        Ok(())
    }
}

impl Kind {
    /// By what the module exports. One that could be called either way is called by the core ABI, which
    /// nothing exports by accident.
    fn of(module: &Module) -> Result<Self, String> {
        if core_abi::is_meant(module) {
            core_abi::check(module).map(|()| Self::Core)
        } else if command::is_meant(module) {
            command::check(module).map(|()| Self::Command)
        } else {
            Err(format!(
                "its module is neither a WASI command, which exports a function {}, nor has it the core \
                 ABI, whose modules export a function {}",
                command::START,
                core_abi::HANDLE
            ))
        }
    }
}

impl Call for Entry {
    type World = Host;

    const HELD: u64 = INSTANCE_BYTES as u64;

    fn world(&self, given: Given) -> Host {
        Host::new(given)
    }

    async fn call(&self, store: &mut Store<Host>) -> wasmtime::Result<Said> {
        match self {
            Self::Command(module) => command::call(module, store).await,
            Self::Core(module) => core_abi::call(module, store).await,
        }
    }
}
