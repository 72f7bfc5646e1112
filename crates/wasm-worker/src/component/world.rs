//! What a component sees of the world: WASI 0.2 as far as it concerns a program without files and without
//! a network.
//!
//! There are clocks, random numbers, sleep, the environment and one argument, and the three standard
//! streams. Everything else of `wasi:cli/imports` is there and says that it may not: no folder was opened
//! before, sockets are refused before there is one, names are not looked up.
//!
//! Whatever waits does so by futures that end with the invocation, and whatever a program makes the host
//! do at once is bounded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::entry::Given;
use crate::limits::Limits;
use crate::log::Log;
use crate::output::Output;
use crate::wasi::ARGUMENTS;

use super::ENTRIES;

/// How many random bytes there are in one call: they are made at once, which takes milliseconds.
const RANDOM: u64 = 1 << 20;

/// How much a program may write at once.
const WRITTEN: usize = 64 << 10;

/// One instance's world.
pub(crate) struct World {
    limits: Limits,
    event: Bytes,
    output: Arc<Mutex<Output>>,
    context: WasiCtx,
    table: ResourceTable,
}

impl World {
    /// The world of a program that reads its event from standard input, and prints its result.
    pub(crate) fn of_command(given: Given) -> Self {
        let output = Arc::default();
        let printed = Printed::Result(Arc::clone(&output));
        Self::new(given, output, printed)
    }

    /// The world of a program that is handed its event: its standard input is empty, and its standard
    /// output is its log.
    pub(crate) fn handed(mut given: Given) -> Self {
        let event = std::mem::take(&mut given.event);
        let printed = Printed::Log(given.log.clone());
        let mut world = Self::new(given, Arc::default(), printed);
        world.event = event;
        world
    }

    fn new(given: Given, output: Arc<Mutex<Output>>, printed: Printed) -> Self {
        let mut context = WasiCtx::builder();
        context
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM)
            .args(&ARGUMENTS)
            .stdin(MemoryInputPipe::new(given.event))
            .stdout(printed)
            .stderr(Printed::Log(given.log));
        for variable in &given.environment {
            if let Some((name, value)) = variable.split_once('=') {
                context.env(name, value);
            }
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(ENTRIES);
        Self {
            limits: given.limits,
            event: Bytes::new(),
            output,
            context: context.build(),
            table,
        }
    }

    /// The event, for a program that is handed it.
    pub(crate) fn take_event(&mut self) -> Bytes {
        std::mem::take(&mut self.event)
    }

    /// Takes what a program has to say that does not print it.
    pub(crate) fn answer(&mut self, bytes: &[u8]) {
        *self.output.lock() = Output::of(bytes);
    }
}

impl crate::entry::World for World {
    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    fn take_output(&mut self) -> (u64, Bytes) {
        std::mem::take(&mut *self.output.lock()).into_parts()
    }
}

impl WasiView for World {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.context,
            table: &mut self.table,
        }
    }
}

/// What it is that a program prints. Takes everything at once; clones are one.
#[derive(Clone)]
enum Printed {
    Result(Arc<Mutex<Output>>),
    /// Goes nowhere while nobody listens.
    Log(Option<Log>),
}

impl Printed {
    fn take(&self, bytes: &[u8]) {
        match self {
            Self::Result(output) => output.lock().write(bytes),
            Self::Log(Some(log)) => log.write(bytes),
            Self::Log(None) => {}
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITTEN {
            return Err(StreamError::trap(&format!(
                "write of {} bytes, where check-write allows {WRITTEN}",
                bytes.len()
            )));
        }
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITTEN)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_written_at_once_than_is_promised() {
        let output: Arc<Mutex<Output>> = Arc::default();
        let mut printed = Printed::Result(Arc::clone(&output));
        let promised = printed.check_write().unwrap();
        printed.write(vec![0; promised].into()).unwrap();
        let more = printed.write(vec![0; promised + 1].into());
        assert!(matches!(more, Err(StreamError::Trap(_))), "{more:?}");
        let (written, _) = std::mem::take(&mut *output.lock()).into_parts();
        assert_eq!(written, promised as u64);
    }
}
