//! What one invocation prints to its standard error, on its way to the server.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use instance::wasm_protocol::Report;
use parking_lot::Mutex;

use crate::replies::Replies;

/// What is gathered before it is sent while the invocation runs on.
const GATHERED: usize = 64 << 10;

/// What is passed on of one invocation's log; the rest is counted. A function that prints without end
/// must not keep the server busy.
const LOGGED: u64 = 16 << 20;

/// One invocation's log. Clones are one.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<State>>);

struct State {
    id: u64,
    replies: Arc<Replies>,
    gathered: BytesMut,
    logged: u64,
    left_out: u64,
}

impl Log {
    pub(crate) fn new(id: u64, replies: Arc<Replies>) -> Self {
        Self(Arc::new(Mutex::new(State {
            id,
            replies,
            gathered: BytesMut::new(),
            logged: 0,
            left_out: 0,
        })))
    }

    /// Takes what has been printed, all of it or what there is room for.
    pub(crate) fn write(&self, text: &[u8]) {
        let mut state = self.0.lock();
        let room = usize::try_from(LOGGED - state.logged).unwrap_or(usize::MAX);
        let taken = &text[..text.len().min(room)];
        state.left_out += (text.len() - taken.len()) as u64;
        state.logged += taken.len() as u64;
        state.gathered.extend_from_slice(taken);
        if state.gathered.len() >= GATHERED {
            state.flush();
        }
    }

    /// Sends what there is: the invocation may go on for long.
    pub(crate) fn flush(&self) {
        self.0.lock().flush();
    }

    /// What has not been sent, and how many bytes were left out.
    pub(crate) fn rest(&self) -> (Bytes, u64) {
        let mut state = self.0.lock();
        (state.gathered.split().freeze(), state.left_out)
    }
}

impl State {
    fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.replies.send(&Report::Log {
                id: self.id,
                text: self.gathered.split().freeze(),
            });
        }
    }
}
