//! The engine with nothing around it: what a benchmark holds the worker against.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wasmtime::{Engine, InstancePre, Module, Store};

use crate::engine;
use crate::limits::{Budget, Limits};
use crate::wasi::{self, Host};

/// A module that is run again and again on the caller's thread, on a fresh instance each time: no
/// deadline, no log, no connection.
pub struct Bare {
    engine: Engine,
    module: InstancePre<Host>,
    budget: Budget,
}

impl Bare {
    /// Compiles a module with the worker's settings.
    ///
    /// # Errors
    /// When it is no module, or asks for what there is not.
    pub fn new(module: &[u8]) -> wasmtime::Result<Self> {
        let engine = engine::runner()?;
        let module = Module::new(&engine, module)?;
        Ok(Self {
            module: wasi::linker(&engine)?.instantiate_pre(&module)?,
            engine,
            budget: Budget::of(u64::MAX),
        })
    }

    /// Runs it once and returns what it has written to its standard output.
    ///
    /// # Errors
    /// When it traps, exits with a status, or waits for something.
    pub fn run(&self, event: Bytes) -> wasmtime::Result<Bytes> {
        let limits = Limits::new(u64::MAX, self.budget.clone());
        let mut store = Store::new(&self.engine, Host::new(event, Vec::new(), limits));
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(u64::MAX / 2);
        {
            let mut call = pin!(async {
                let instance = self.module.instantiate_async(&mut store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                start.call_async(&mut store, ()).await
            });
            let mut context = Context::from_waker(Waker::noop());
            match call.as_mut().poll(&mut context) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Err(wasmtime::Error::msg("it waits for something")),
            }
        }
        Ok(store.data_mut().take_output().1)
    }
}
