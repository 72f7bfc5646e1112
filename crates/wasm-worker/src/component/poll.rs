//! `wasi:io/poll` as the engine has it, with a bound on what is waited for at once.
//!
//! While it waits, the host holds the list that it was handed, and a future for each of its entries. A handle
//! that was lent to a part of a component can be in that list any number of times: the engine counts only
//! what owners lend.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_io::bindings::wasi::io::poll::{Host, HostPollable, add_to_linker};

use super::HANDLES;
use super::world::World;

/// Puts it in the place of the engine's.
///
/// # Errors
/// Never: what is there is replaced.
pub(super) fn link(linker: &mut Linker<World>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    add_to_linker::<World, Polls>(linker, |world| Bounded(world.ctx().table))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Polls;

impl HasData for Polls {
    type Data<'a> = Bounded<'a>;
}

/// What there is to wait for.
struct Bounded<'a>(&'a mut ResourceTable);

impl Host for Bounded<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        if pollables.len() > HANDLES {
            let count = pollables.len();
            return Err(wasmtime::format_err!(
                "poll of {count} handles, where {HANDLES} are the most"
            ));
        }
        self.0.poll(pollables).await
    }
}

impl HostPollable for Bounded<'_> {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.0.block(pollable).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.0.ready(pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        HostPollable::drop(self.0, pollable)
    }
}
