//! One connection, many invocations: who waits for which answer.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::wasm::protocol::{Ending, Order, Report, take_frame};

/// Pieces of one invocation's log that wait to be passed on; more are lost and counted, so that one
/// invocation's flood holds up no other's answer.
const LOG_BACKLOG: usize = 64;

/// How much room there is for a read at least, and how much is made when there is less.
const LEAST_READ: usize = 4 << 10;
const READ: usize = 64 << 10;

/// Both directions of a connection.
#[derive(Default)]
pub(in crate::wasm) struct Link {
    /// Frames to be written. Bounded by the invocations that run at a time, one event for each.
    orders: Mutex<BytesMut>,
    ordered: Notify,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
    condemned: CancellationToken,
}

/// Who waits, until the end.
#[derive(Default)]
struct Waiting {
    invocations: HashMap<u64, Caller>,
    loads: HashMap<u32, oneshot::Sender<Result<(), String>>>,
    compilation: Option<oneshot::Sender<Result<Bytes, String>>>,
    /// How the worker has ended.
    ended: Option<String>,
}

struct Caller {
    log: mpsc::Sender<Bytes>,
    lost: u64,
    done: oneshot::Sender<Done>,
}

/// What a worker says of an invocation that has ended.
pub(in crate::wasm) struct Done {
    pub(in crate::wasm) ending: Ending,
    pub(in crate::wasm) duration: Duration,
    pub(in crate::wasm) memory: u64,
    /// Bytes of its log that nobody has seen.
    pub(in crate::wasm) unlogged: u64,
    pub(in crate::wasm) log: Bytes,
    pub(in crate::wasm) written: u64,
    pub(in crate::wasm) output: Bytes,
}

/// An invocation that a worker runs. Dropping it cancels it.
pub(in crate::wasm) struct Underway {
    id: u64,
    link: Arc<Link>,
    log: mpsc::Receiver<Bytes>,
    done: oneshot::Receiver<Done>,
}

/// What comes of an invocation.
pub(in crate::wasm) enum Heard {
    Log(Bytes),
    Done(Done),
    /// The worker has ended, in these words.
    Gone(String),
}

impl Link {
    /// Sends an order, unless the worker has ended.
    pub(in crate::wasm) fn send(&self, order: &Order) {
        let mut orders = self.orders.lock();
        let first = orders.is_empty();
        order.write(&mut orders);
        drop(orders);
        if first {
            self.ordered.notify_one();
        }
    }

    /// Has a loaded module run once.
    pub(in crate::wasm) fn invoke(
        self: &Arc<Self>,
        module: u32,
        environment: Vec<String>,
        event: Bytes,
    ) -> Underway {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (log, logged) = mpsc::channel(LOG_BACKLOG);
        let (sender, done) = oneshot::channel();
        let caller = Caller {
            log,
            lost: 0,
            done: sender,
        };
        let mut waiting = self.waiting.lock();
        // Of one that has ended, the dropped sender tells.
        if waiting.ended.is_none() {
            waiting.invocations.insert(id, caller);
            drop(waiting);
            self.send(&Order::Invoke {
                id,
                module,
                environment,
                event,
            });
        }
        Underway {
            id,
            link: Arc::clone(self),
            log: logged,
            done,
        }
    }

    /// What will be said of a module that is about to be loaded. `None` when the worker has ended.
    pub(in crate::wasm) fn loaded(
        &self,
        module: u32,
    ) -> Option<oneshot::Receiver<Result<(), String>>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.ended.is_some() {
            return None;
        }
        waiting.loads.insert(module, sender);
        Some(receiver)
    }

    /// What will be said of a module that is about to be compiled. `None` when the worker has ended.
    pub(super) fn compiled(&self) -> Option<oneshot::Receiver<Result<Bytes, String>>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.ended.is_some() {
            return None;
        }
        waiting.compilation = Some(sender);
        Some(receiver)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.waiting.lock().ended.is_some()
    }

    /// Has the worker killed: it does not do as it is told.
    pub(in crate::wasm) fn condemn(&self) {
        self.condemned.cancel();
    }

    pub(super) async fn condemned(&self) {
        self.condemned.cancelled().await;
    }

    /// The worker has ended: tells everybody who waits.
    pub(super) fn end(&self, how: String) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting {
            ended: Some(how),
            ..Waiting::default()
        };
    }

    /// Writes orders as they come. Returns only with an error.
    pub(super) async fn write(&self, mut writer: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let orders = std::mem::take(&mut *self.orders.lock());
            if orders.is_empty() {
                self.ordered.notified().await;
            } else {
                writer.write_all(&orders).await?;
            }
        }
    }

    /// Reads reports until the worker closes the connection or says what cannot be understood.
    pub(super) async fn read(
        &self,
        mut reader: OwnedReadHalf,
        mut buffer: BytesMut,
    ) -> io::Result<()> {
        loop {
            while let Some(body) = take_frame(&mut buffer).map_err(io::Error::other)? {
                self.take_in(Report::read(body).map_err(io::Error::other)?);
            }
            // Without it, a buffer whose frames are still held grows by some bytes at a time.
            if buffer.capacity() - buffer.len() < LEAST_READ {
                buffer.reserve(READ);
            }
            if reader.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Hands a report to whom it is for. Nobody waits any more for what was cancelled.
    fn take_in(&self, report: Report) {
        let mut waiting = self.waiting.lock();
        match report {
            Report::Hello { .. } => {}
            Report::Compiled { artifact } => {
                if let Some(waits) = waiting.compilation.take() {
                    let _ = waits.send(Ok(artifact));
                }
            }
            Report::Refused { reason } => {
                if let Some(waits) = waiting.compilation.take() {
                    let _ = waits.send(Err(reason));
                }
            }
            Report::Loaded { module, error } => {
                if let Some(waits) = waiting.loads.remove(&module) {
                    let _ = waits.send(error.map_or(Ok(()), Err));
                }
            }
            Report::Log { id, text } => {
                if let Some(caller) = waiting.invocations.get_mut(&id) {
                    let bytes = text.len() as u64;
                    if caller.log.try_send(text).is_err() {
                        caller.lost += bytes;
                    }
                }
            }
            Report::Done {
                id,
                ending,
                duration,
                memory,
                unlogged,
                log,
                written,
                output,
            } => {
                if let Some(caller) = waiting.invocations.remove(&id) {
                    drop(waiting);
                    let _ = caller.done.send(Done {
                        ending,
                        duration,
                        memory,
                        unlogged: unlogged.saturating_add(caller.lost),
                        log,
                        written,
                        output,
                    });
                }
            }
        }
    }
}

impl Underway {
    /// What comes next. Everything of the log comes before the end. Cancel safe.
    pub(in crate::wasm) async fn heard(&mut self) -> Heard {
        // The log's sender goes with the end, and closes the channel after its last piece.
        if let Some(text) = self.log.recv().await {
            return Heard::Log(text);
        }
        match (&mut self.done).await {
            Ok(done) => Heard::Done(done),
            Err(_) => {
                let waiting = self.link.waiting.lock();
                let how = waiting.ended.as_deref().unwrap_or("it is ending");
                Heard::Gone(how.to_owned())
            }
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let waited = self.link.waiting.lock().invocations.remove(&self.id);
        if waited.is_some() {
            self.link.send(&Order::Cancel { id: self.id });
        }
    }
}
