//! The engine with nothing around it: what a benchmark holds the worker against.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use wasmtime::{Engine, Store};

use crate::binary::Binary;
use crate::engine::{self, PLACES};
use crate::entry::{Call, Entry, Given, Imports, Said, World};
use crate::limits::{Budget, Limits};

/// A program that is run again and again on the caller's thread, on a fresh instance each time: no
/// deadline, no log, no connection.
pub struct Bare {
    engine: Engine,
    entry: Entry,
    budget: Budget,
    timers: Timers,
}

/// For what waits, to have its timers, none of which is waited for.
struct Timers(Option<Runtime>);

impl Drop for Timers {
    fn drop(&mut self) {
        // The other way waits, which is not allowed within another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bare {
    /// Compiles a module or a component with the worker's settings.
    ///
    /// # Errors
    /// When it is neither, or asks for what there is not, or when there can be no timers.
    pub fn new(bytes: &[u8]) -> wasmtime::Result<Self> {
        let engine = engine::new(PLACES)?;
        let entry = Binary::compile(&engine, bytes).and_then(|binary| {
            Imports::new(&engine)
                .map_err(|error| format!("{error:#}"))?
                .entry(&binary)
        });
        Ok(Self {
            entry: entry.map_err(wasmtime::Error::msg)?,
            engine,
            budget: Budget::of(u64::MAX),
            timers: Timers(Some(Builder::new_current_thread().enable_time().build()?)),
        })
    }

    /// Runs it once and returns its result.
    ///
    /// # Errors
    /// When it traps, exits with a status, says that something is wrong, or waits for something.
    pub fn run(&self, event: Bytes) -> wasmtime::Result<Bytes> {
        let _timers = self.timers.0.as_ref().map(Runtime::enter);
        match &self.entry {
            Entry::Module(entry) => self.call(entry, event),
            Entry::Component(entry) => self.call(entry, event),
        }
    }

    fn call(&self, entry: &impl Call, event: Bytes) -> wasmtime::Result<Bytes> {
        let world = entry.world(Given {
            event,
            environment: Vec::new(),
            limits: Limits::new(u64::MAX, self.budget.clone()),
            log: None,
        });
        let mut store = Store::new(&self.engine, world);
        store.limiter(|world| world.limits());
        store.set_epoch_deadline(u64::MAX / 2);
        let said = {
            let call = pin!(entry.call(&mut store));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::texts::{self, CLOCKS, CLOCKS_IMPORTED, NOTHING};

    fn run(text: &str) -> wasmtime::Result<Bytes> {
        let bytes = wat::parse_str(text).unwrap();
        Bare::new(&bytes).unwrap().run(Bytes::new())
    }

    #[test]
    fn what_waits_is_an_error_without_a_runtime() {
        what_waits_is_an_error();
    }

    #[tokio::test]
    async fn what_waits_is_an_error_within_a_runtime() {
        what_waits_is_an_error();
    }

    fn what_waits_is_an_error() {
        let plain = texts::command(NOTHING, "", "i32.const 0");
        assert_eq!(run(&plain).unwrap(), Bytes::new());
        let sleep = "(call $block (call $subscribe (i64.const 1000000000))) i32.const 0";
        let error = run(&texts::command(CLOCKS, CLOCKS_IMPORTED, sleep)).unwrap_err();
        assert!(error.to_string().contains("it waits"), "{error:#}");
    }
}
