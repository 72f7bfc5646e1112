//! Components: their kinds, what they may import, and how each is called.
//!
//! A component is a **command**, which exports `wasi:cli/run` of WASI 0.2: the event is its standard input,
//! the result its standard output. Or it is **typed** and exports a function of our own:
//!
//! ```text
//!  handle: func(event: list<u8>) -> result<list<u8>, string>
//! ```
//!
//! An error of that is text, or a JSON object with `errorMessage` and `errorType`; standard input is
//! empty, and standard output and error are the log. `functions/wit` has it as a world.
//!
//! Either may import what `wasi:cli/imports` has; see [`World`] for what comes of it.
//!
//! A component is hostile: what it hands over is checked by the engine and copied, up to [`COPIED`] or
//! [`ANSWERED`] bytes in a call, and it has up to [`HANDLES`] things of the host's and of its own at a time.

mod poll;
mod world;

use instance::MAX_RESPONSE_BYTES;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::broken::{Broken, unanswered};
use crate::engine::INSTANCE_BYTES;
use crate::entry::{Call, Given, Said};
use crate::wasi::Exit;

use world::World;

/// What a typed component exports, by which it is recognised, and how its type is written.
const HANDLE: &str = "handle";
const HANDLE_TYPE: &str = "func(event: list<u8>) -> result<list<u8>, string>";

/// What a command exports: this, of any version that is compatible with the engine's.
const RUN: &str = "wasi:cli/run@0.2";

/// What is copied out of a command in one call, in bytes. The largest that it has any use for are writes of
/// 64 KiB and polls of [`HANDLES`] handles, for each of which the engine counts 12. While a call waits, the
/// host holds what was copied for it.
const COPIED: usize = 256 << 10;

/// The same of a typed component, whose answer is copied too: one that is a little larger than a response may
/// be is refused for its size. No call that takes so much waits with it: writes and polls have bounds of
/// their own.
const ANSWERED: usize = MAX_RESPONSE_BYTES + (2 << 20);

/// How many handles there are at a time, of what the host gives (streams, clocks to wait for) and of a
/// component's own resources together. What its owner lends to a call counts twice while the call takes.
const HANDLES: usize = 3_000;

/// How many entries of the host's table those are at most: to wait for a clock takes two.
const ENTRIES: usize = 2 * HANDLES;

/// What one of the host's costs at most, in bytes: a slot among the component's handles, two entries of the
/// host's, what they are of, and the future and the timer by which a poll waits for it. By the sizes of those
/// in wasmtime 48 and tokio 1 it is some 570.
const HANDLE_BYTES: usize = 640;

/// What of a loaded component is called, by its kind.
pub(crate) enum Entry {
    /// A WASI command.
    Command(CommandPre<World>),
    /// A component with a function of ours.
    Typed(InstancePre<World>, ComponentExportIndex),
}

/// What components may import.
pub(crate) struct Imports(Linker<World>);

impl Imports {
    /// All that there is.
    ///
    /// # Errors
    /// Never: no name is defined twice.
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        poll::link(&mut linker)?;
        Ok(Self(linker))
    }

    /// A component that is ready to be called, or why it cannot be a function, for its author. One that
    /// could be called either way is called by its function, which nothing exports by accident.
    pub(crate) fn entry(&self, component: &Component) -> Result<Entry, String> {
        let handle = component.get_export_index(None, HANDLE);
        if handle.is_some() {
            check(component)?;
        } else if !is_command(component) {
            return Err(format!(
                "its component is neither a WASI command, which exports {RUN}, nor does it export a \
                 function {HANDLE}"
            ));
        }
        let linked = self.0.instantiate_pre(component).map_err(|error| {
            format!(
                "its component cannot be linked: {error:#}; a function gets what wasi:cli/imports of \
                 WASI 0.2 has"
            )
        })?;
        match handle {
            Some(handle) => Ok(Entry::Typed(linked, handle)),
            None => CommandPre::new(linked)
                .map(Entry::Command)
                .map_err(|error| format!("its component is not a WASI command: {error:#}")),
        }
    }
}

fn is_command(component: &Component) -> bool {
    let kind = component.component_type();
    kind.exports(component.engine())
        .any(|(name, _)| name.starts_with(RUN))
}

/// Whether what a typed component exports is of the type that it must be.
fn check(component: &Component) -> Result<(), String> {
    let kind = component.component_type();
    let export = kind.get_export(component.engine(), HANDLE);
    let is_right = export.is_some_and(|export| match export.ty {
        ComponentItem::ComponentFunc(function) => function
            .typecheck::<(&[u8],), (Handled,)>(&kind.instance_type())
            .is_ok(),
        _ => false,
    });
    if is_right {
        Ok(())
    } else {
        Err(format!("its component's {HANDLE} is not a {HANDLE_TYPE}"))
    }
}

/// What a typed component answers.
type Handled = Result<Vec<u8>, String>;

impl Call for Entry {
    type World = World;

    const HELD: u64 = (INSTANCE_BYTES + HANDLES * HANDLE_BYTES) as u64;

    fn world(&self, given: Given) -> World {
        match self {
            Self::Command(_) => World::of_command(given),
            Self::Typed(..) => World::handed(given),
        }
    }

    async fn call(&self, store: &mut Store<World>) -> wasmtime::Result<Said> {
        store.set_max_component_handles(HANDLES);
        match self {
            Self::Command(command) => {
                store.set_hostcall_fuel(COPIED);
                run(command, store).await
            }
            Self::Typed(component, handle) => {
                store.set_hostcall_fuel(ANSWERED);
                handled(component, handle, store).await
            }
        }
    }
}

/// Runs a command. What it has said, it has printed; that something is wrong is an exit with the status
/// one, as there is no other in WASI 0.2.
async fn run(command: &CommandPre<World>, store: &mut Store<World>) -> wasmtime::Result<Said> {
    let command = command.instantiate_async(&mut *store).await;
    let command = command.map_err(known)?;
    let run = command.wasi_cli_run().call_run(&mut *store).await;
    match run.map_err(known)? {
        Ok(()) => Ok(Said::Result),
        Err(()) => Err(Exit(1).into()),
    }
}

/// Hands a typed component its event.
async fn handled(
    component: &InstancePre<World>,
    handle: &ComponentExportIndex,
    store: &mut Store<World>,
) -> wasmtime::Result<Said> {
    let event = store.data_mut().take_event();
    let answered = async {
        let instance = component.instantiate_async(&mut *store).await?;
        let handle = instance.get_typed_func::<(&[u8],), (Handled,)>(&mut *store, handle)?;
        handle.call_async(&mut *store, (&event,)).await
    };
    let (answer,) = answered.await.map_err(known).map_err(unanswered)?;
    let (said, answer) = match &answer {
        Ok(result) => (Said::Result, result.as_slice()),
        Err(error) => (Said::Error, error.as_bytes()),
    };
    store.data_mut().answer(answer);
    Ok(said)
}

/// An error as one that is known here: whatever is neither an exit nor a trap nor a full pool is what the
/// engine or the host have against a component's calls.
fn known(error: wasmtime::Error) -> wasmtime::Error {
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return Exit(status.cast_unsigned()).into();
    }
    if error.is::<Trap>() || error.is::<PoolConcurrencyLimitError>() {
        return error;
    }
    Broken::Call(error.root_cause().to_string()).into()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod texts;
