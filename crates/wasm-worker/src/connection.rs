//! The worker's side of the connection: orders are read and carried out until the server is gone.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use clock::SystemClock;
use instance::wasm_protocol::{Malformed, Order, Report, take_frame};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::compile::compile;
use crate::engine::{self, PLACE_BYTES, PLACES};
use crate::entry::Imports;
use crate::execution::{Ground, Invocation};
use crate::lanes::Lanes;
use crate::limits::Budget;
use crate::log::Log;
use crate::program::Program;
use crate::replies::Replies;
use crate::ticker::Ticker;

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// What instances may have together, of the worker's memory without what [`PLACES`] keep. Of a worker's 2 GiB,
/// the least that a server gives one, places keep 640 MiB and instances have 1,055; that is enough for one in
/// each place, with two mebibytes of linear memory each. The other 352 are the engine's, the code's, the
/// events', the results' and the stacks'. Those are not counted: 256 stacks of 2 MiB, or events and results
/// of 6 MiB, would be more, and end the worker, which is that of one account.
const SHARE_PERCENT: u64 = 75;

/// What instances may have of a worker's memory, in bytes.
const fn share(memory: u64) -> u64 {
    let kept = PLACES as u64 * PLACE_BYTES as u64;
    memory.saturating_sub(kept) / 100 * SHARE_PERCENT
}

/// Why a worker has ended otherwise than with its server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be heard: standard input is not the socket that it should be.
    #[error("could not hear the server on standard input; only a server starts this")]
    Connection(#[source] io::Error),
    /// The server says what cannot be understood: it is of another version.
    #[error("could not understand the server")]
    Order(#[from] Malformed),
    /// The engine cannot be set up on this machine.
    #[error("could not set up the engine")]
    Engine(#[source] wasmtime::Error),
    /// No thread can be started.
    #[error("could not start the lanes")]
    Lanes(#[source] io::Error),
}

/// Does as it is told over the Unix stream that is its standard input, until the server closes it.
/// `memory` is what this process may use, in bytes.
///
/// # Errors
/// When it cannot work; see [`Error`]. A panic on any thread ends the process, because nobody could
/// tell what state it has left.
pub fn run(memory: u64) -> Result<(), Error> {
    let inherited = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        inherited(panic);
        std::process::abort();
    }));
    // What is read from it is read here, and not by anybody's standard input.
    let input = io::stdin().as_fd().try_clone_to_owned();
    let mut stream = UnixStream::from(input.map_err(Error::Connection)?);
    stream.peer_addr().map_err(Error::Connection)?;
    let engine = engine::new(PLACES).map_err(Error::Engine)?;
    let replies = Arc::new(Replies::new(stream.try_clone().map_err(Error::Connection)?));
    replies.send(&Report::Hello {
        engine: engine::fingerprint(&engine),
    });
    let connection = Connection {
        engine,
        replies,
        budget: Budget::of(share(memory)),
        runner: OnceLock::new(),
    };
    let mut buffer = BytesMut::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        while let Some(body) = take_frame(&mut buffer)? {
            connection.carry_out(Order::read(body)?)?;
        }
        match stream.read(&mut chunk).map_err(Error::Connection)? {
            0 => return Ok(()),
            read => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

struct Connection {
    engine: Engine,
    replies: Arc<Replies>,
    budget: Budget,
    /// Set up when there is something to run: a worker that compiles does nothing else.
    runner: OnceLock<Arc<Runner>>,
}

/// What runs programs.
struct Runner {
    ground: Ground,
    imports: Imports,
    lanes: Lanes,
    programs: Mutex<HashMap<u32, Arc<Program>>>,
    /// The invocations that can be cancelled.
    underway: Mutex<HashMap<u64, CancellationToken>>,
}

impl Connection {
    fn carry_out(&self, order: Order) -> Result<(), Error> {
        match order {
            Order::Compile { path } => self.replies.send(&compile(&self.engine, &path)),
            Order::Load {
                module,
                artifact,
                memory,
                timeout,
                environment,
            } => {
                let runner = self.runner()?;
                let (loader, replies) = (Arc::clone(runner), Arc::clone(&self.replies));
                runner.lanes.block(move || {
                    let (engine, imports) = (&loader.ground.engine, &loader.imports);
                    let loaded =
                        Program::load(engine, imports, &artifact, memory, timeout, environment);
                    let error = match loaded {
                        Ok(program) => {
                            loader.programs.lock().insert(module, Arc::new(program));
                            None
                        }
                        Err(error) => Some(format!(
                            "what was compiled of it cannot be loaded: {error:#}"
                        )),
                    };
                    replies.send(&Report::Loaded { module, error });
                });
            }
            Order::Unload { module } => {
                self.runner()?.programs.lock().remove(&module);
            }
            Order::Invoke {
                id,
                module,
                environment,
                event,
            } => {
                let runner = self.runner()?;
                // The server invokes only what has been loaded.
                if let Some(program) = runner.programs.lock().get(&module).cloned() {
                    let cancelled = CancellationToken::new();
                    runner.underway.lock().insert(id, cancelled.clone());
                    let invocation = Invocation {
                        id,
                        program,
                        environment,
                        event,
                        log: Log::new(id, Arc::clone(&self.replies)),
                        cancelled,
                    };
                    let (runner, replies) = (Arc::clone(runner), Arc::clone(&self.replies));
                    let lanes = Arc::clone(&runner);
                    lanes.lanes.run(Box::pin(async move {
                        let report = invocation.run(runner.ground.clone()).await;
                        runner.underway.lock().remove(&id);
                        if let Some(report) = report {
                            replies.send(&report);
                        }
                    }));
                }
            }
            Order::Cancel { id } => {
                let underway = self.runner()?.underway.lock().remove(&id);
                if let Some(cancelled) = underway {
                    cancelled.cancel();
                }
            }
        }
        Ok(())
    }

    fn runner(&self) -> Result<&Arc<Runner>, Error> {
        if let Some(runner) = self.runner.get() {
            return Ok(runner);
        }
        let engine = self.engine.clone();
        let runner = Runner {
            imports: Imports::new(&engine).map_err(Error::Engine)?,
            ground: Ground {
                ticker: Ticker::start(engine.clone()).map_err(Error::Lanes)?,
                engine,
                budget: self.budget.clone(),
                clock: Arc::new(SystemClock::new()),
            },
            lanes: Lanes::start().map_err(Error::Lanes)?,
            programs: Mutex::default(),
            underway: Mutex::default(),
        };
        Ok(self.runner.get_or_init(|| Arc::new(runner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Call;
    use crate::{component, module};

    #[test]
    fn the_least_memory_is_enough_for_an_instance_in_every_place() {
        let share = share(2 << 30);
        assert_eq!(share >> 20, 1_055);
        let places = u64::from(PLACES);
        assert!(places * component::Entry::HELD <= share);
        assert!(places * module::Entry::HELD <= share);
    }
}
