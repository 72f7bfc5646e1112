//! What is run: a program of any kind, and the world that each of its instances is in.

use bytes::Bytes;
use wasmtime::{Engine, Store};

use crate::binary::Binary;
use crate::limits::Limits;
use crate::log::Log;
use crate::{component, module};

/// What of a loaded program is called, by its kind.
pub(crate) enum Entry {
    Module(module::Entry),
    Component(component::Entry),
}

/// What a function has said: it has put it where a command's standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Its result.
    Result,
    /// What is wrong.
    Error,
}

/// What an instance is given.
pub(crate) struct Given {
    pub(crate) event: Bytes,
    /// `NAME=value`.
    pub(crate) environment: Vec<String>,
    pub(crate) limits: Limits,
    /// Where the log goes; nowhere while nobody listens.
    pub(crate) log: Option<Log>,
}

/// What an instance sees, and what is seen of it.
pub(crate) trait World: Send + 'static {
    fn limits(&mut self) -> &mut Limits;

    /// How long the result is that was printed or handed over, and what is kept of it.
    fn take_output(&mut self) -> (u64, Bytes);
}

/// Something that can be called again and again, on an instance of its own each time.
pub(crate) trait Call: Sync {
    type World: World;

    /// What the host has of one instance beside linear memory and tables, in bytes, at most.
    const HELD: u64;

    fn world(&self, given: Given) -> Self::World;

    /// Runs it once, on an instance in `store`, which holds a world of its own making.
    ///
    /// # Errors
    /// When it traps, exits, or breaks its interface.
    fn call(
        &self,
        store: &mut Store<Self::World>,
    ) -> impl Future<Output = wasmtime::Result<Said>> + Send;
}

/// What programs may import.
pub(crate) struct Imports {
    modules: module::Imports,
    components: component::Imports,
}

impl Imports {
    /// All that there is.
    ///
    /// # Errors
    /// Never: no name is defined twice.
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        Ok(Self {
            modules: module::Imports::new(engine)?,
            components: component::Imports::new(engine)?,
        })
    }

    /// A program that is ready to be called, or why it cannot be a function, for its author.
    pub(crate) fn entry(&self, binary: &Binary) -> Result<Entry, String> {
        Ok(match binary {
            Binary::Module(module) => Entry::Module(self.modules.entry(module)?),
            Binary::Component(component) => Entry::Component(self.components.entry(component)?),
        })
    }
}
