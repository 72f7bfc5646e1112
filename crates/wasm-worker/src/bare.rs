//! The engine with nothing around it: what a benchmark holds the worker against.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wasmtime::{Engine, Module, Store};

use crate::engine;
use crate::entry::{Entry, Imports, Said};
use crate::limits::{Budget, Limits};
use crate::wasi::Host;

/// A module that is run again and again on the caller's thread, on a fresh instance each time: no
/// deadline, no log, no connection.
pub struct Bare {
    engine: Engine,
    entry: Entry,
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
        let entry = Imports::new(&engine)?.module(&module);
        Ok(Self {
            entry: entry.map_err(wasmtime::Error::msg)?,
            engine,
            budget: Budget::of(u64::MAX),
        })
    }

    /// Runs it once and returns its result.
    ///
    /// # Errors
    /// When it traps, exits with a status, says that something is wrong, or waits for something.
    pub fn run(&self, event: Bytes) -> wasmtime::Result<Bytes> {
        let limits = Limits::new(u64::MAX, self.budget.clone());
        let mut store = Store::new(&self.engine, Host::new(event, Vec::new(), limits));
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(u64::MAX / 2);
        let said = {
            let call = pin!(self.entry.call(&mut store));
            match call.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(said) => said?,
                Poll::Pending => return Err(wasmtime::Error::msg("it waits for something")),
            }
        };
        let (_, answer) = store.data_mut().take_output();
        match said {
            Said::Result => Ok(answer),
            Said::Error => Err(wasmtime::Error::msg(format!("it says {answer:?}"))),
        }
    }
}
