//! The way back to the server.

use std::io::Write;
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use instance::wasm_protocol::Report;
use parking_lot::Mutex;

/// Writes reports from any thread. Whoever finds nobody writing writes for all until nothing is left:
/// a report that comes alone leaves at once, and those that come together leave together.
pub(crate) struct Replies {
    stream: UnixStream,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    frames: BytesMut,
    /// Whether somebody writes.
    writing: bool,
}

impl Replies {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            pending: Mutex::default(),
        }
    }

    /// Sends a report. Ends the process when the server is gone: there is nobody to work for.
    pub(crate) fn send(&self, report: &Report) {
        let mut pending = self.pending.lock();
        report.write(&mut pending.frames);
        if pending.writing {
            return;
        }
        pending.writing = true;
        while !pending.frames.is_empty() {
            let frames = pending.frames.split();
            drop(pending);
            if (&self.stream).write_all(&frames).is_err() {
                std::process::exit(0);
            }
            pending = self.pending.lock();
        }
        pending.writing = false;
    }
}
