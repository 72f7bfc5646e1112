//! What functions print, on its way out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use clock::Timestamp;
use tokio::sync::{Notify, mpsc};

/// Whole lines of one function's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// The account that owns the function.
    pub account: Arc<str>,
    /// The function's name.
    pub function: Arc<str>,
    /// The version that printed it.
    pub version: Arc<str>,
    /// The log stream of the instance: `YYYY/MM/DD/[VERSION]HEX`.
    pub stream: Arc<str>,
    /// The invocation that was running; `None` during initialisation.
    pub request_id: Option<Arc<str>>,
    /// When it was read.
    pub time: Timestamp,
    /// Who said it.
    pub kind: LogKind,
    /// One or more lines, each ended by `\n`, in UTF-8 unless the function printed something else.
    pub text: Bytes,
}

/// Who wrote a [`LogChunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// The function: its standard output and standard error.
    Function,
    /// The platform: `START`, `END`, `REPORT` and their like; a handful for each invocation.
    Platform,
}

/// Whether a sink took a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It did.
    Yes,
    /// It had no room; the chunk is lost and the writer counts its lines.
    Full,
}

/// Where log chunks go.
///
/// A sink never blocks: a function that prints more than the sink can carry loses lines, and is
/// told how many, but is not held up. Chunks of one instance arrive in order.
pub trait LogSink: Send + Sync {
    /// Hands over a chunk. A sink must take every [`LogKind::Platform`] chunk: there are few, so
    /// that concurrency bounds them, and an invocation without its `REPORT` cannot be explained.
    fn lines(&self, chunk: LogChunk) -> Taken;
}

/// What a waiting chunk costs beside its text, in bytes: many short ones must not pass the bound.
const OVERHEAD: usize = 256;

/// The sending end of a queue of log chunks that is bounded in bytes.
#[derive(Clone)]
pub struct LogQueue {
    sender: mpsc::UnboundedSender<LogChunk>,
    held: Arc<Held>,
    limit: usize,
}

/// What is in a queue.
struct Held {
    bytes: AtomicUsize,
    /// Above this many bytes, its reader should not wait for more.
    much: usize,
    /// Told when there are.
    crowded: Notify,
}

/// The receiving end; one reader.
pub struct LogReceiver {
    receiver: mpsc::UnboundedReceiver<LogChunk>,
    held: Arc<Held>,
}

/// A queue that holds up to `limit` bytes of what functions print, 256 bytes added for every chunk.
/// Platform lines are let in beyond it, so the channel itself has no bound: the bytes have.
#[must_use]
pub fn log_queue(limit: usize) -> (LogQueue, LogReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let held = Arc::new(Held {
        bytes: AtomicUsize::new(0),
        much: limit / 4,
        crowded: Notify::new(),
    });
    let queue = LogQueue {
        sender,
        held: Arc::clone(&held),
        limit,
    };
    (queue, LogReceiver { receiver, held })
}

impl LogSink for LogQueue {
    fn lines(&self, chunk: LogChunk) -> Taken {
        let bytes = cost(&chunk);
        let before = self.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = before + bytes <= self.limit;
        if !room && chunk.kind == LogKind::Function {
            self.held.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Taken::Full;
        }
        if before + bytes >= self.held.much {
            self.held.crowded.notify_one();
        }
        // A receiver that is gone reads nothing more: the chunk is lost with it.
        match self.sender.send(chunk) {
            Ok(()) => Taken::Yes,
            Err(_) => Taken::Full,
        }
    }
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogQueue")
            .field("held", &self.held.bytes.load(Ordering::Relaxed))
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl LogReceiver {
    /// The next chunk, in the order of arrival; `None` once every sender is gone and the queue is
    /// empty. Cancel safe.
    pub async fn next(&mut self) -> Option<LogChunk> {
        let chunk = self.receiver.recv().await?;
        self.held.bytes.fetch_sub(cost(&chunk), Ordering::Relaxed);
        Some(chunk)
    }

    /// Resolves when a quarter of the queue is taken. Cancel safe.
    pub async fn crowded(&self) {
        while self.held.bytes.load(Ordering::Relaxed) < self.held.much {
            self.held.crowded.notified().await;
        }
    }

    /// The next chunk if one is waiting.
    pub fn try_next(&mut self) -> Option<LogChunk> {
        let chunk = self.receiver.try_recv().ok()?;
        self.held.bytes.fetch_sub(cost(&chunk), Ordering::Relaxed);
        Some(chunk)
    }
}

fn cost(chunk: &LogChunk) -> usize {
    OVERHEAD + chunk.text.len()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn chunk(kind: LogKind, text: &'static str) -> LogChunk {
        LogChunk {
            account: "000000000000".into(),
            function: "f".into(),
            version: "$LATEST".into(),
            stream: "s".into(),
            request_id: None,
            time: Timestamp::from_millis(0),
            kind,
            text: Bytes::from_static(text.as_bytes()),
        }
    }

    #[test]
    fn a_full_queue_refuses_what_functions_print_but_not_what_the_platform_says() {
        let (queue, mut receiver) = log_queue(OVERHEAD + 8);
        assert_eq!(queue.lines(chunk(LogKind::Function, "12345\n")), Taken::Yes);
        assert_eq!(queue.lines(chunk(LogKind::Function, "lost\n")), Taken::Full);
        assert_eq!(queue.lines(chunk(LogKind::Platform, "END\n")), Taken::Yes);
        assert_eq!(receiver.try_next().unwrap().text, "12345\n");
        assert_eq!(receiver.try_next().unwrap().text, "END\n");
        assert_eq!(queue.lines(chunk(LogKind::Function, "again\n")), Taken::Yes);
    }

    #[tokio::test]
    async fn a_reader_is_told_when_much_is_waiting() {
        let (queue, mut receiver) = log_queue(4 * 2 * OVERHEAD);
        let printed = || queue.lines(chunk(LogKind::Function, "line\n"));
        assert_eq!(printed(), Taken::Yes);
        assert_eq!(receiver.crowded().now_or_never(), None);
        assert_eq!(printed(), Taken::Yes);
        receiver.crowded().await;
        assert!(receiver.try_next().is_some());
        // That it was crowded once is not taken for its being so.
        assert_eq!(receiver.crowded().now_or_never(), None);
    }
}
