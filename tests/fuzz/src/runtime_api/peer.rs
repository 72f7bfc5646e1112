//! Whoever is at the other end of a connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{PREFIX, request_id};

/// Bytes on their way in each direction, at most.
const WIRE: usize = 64 * 1024;
/// Bytes of what was sent in which requests are looked for: more than a request's head takes.
const REMEMBERED: usize = 1024;
/// How long a server that reads takes to read. Time passes only when nothing else can happen.
const MOMENT: Duration = Duration::from_millis(1);

/// Bytes of a template that stand for what nobody could guess.
mod words {
    /// The id of the newest invocation.
    pub(super) const NEWEST: u8 = 1;
    /// The id of the one before.
    pub(super) const BEFORE: u8 = 2;
    /// What an extension was told to call itself, on this connection.
    pub(super) const IDENTIFIER: u8 = 3;
}

pub(super) struct Peer {
    wire: DuplexStream,
    /// The end of what was sent.
    recent: Vec<u8>,
    identifier: String,
}

impl Peer {
    /// With the server's end of the wire.
    pub(super) fn connect() -> (Self, DuplexStream) {
        let (wire, io) = tokio::io::duplex(WIRE);
        let peer = Self {
            wire,
            recent: Vec::new(),
            identifier: String::new(),
        };
        (peer, io)
    }

    /// A template with its words filled in.
    pub(super) fn meant(&self, template: &[u8], newest: usize) -> Vec<u8> {
        let (now, before) = (request_id(newest), request_id(newest.saturating_sub(1)));
        template
            .iter()
            .flat_map(|byte| match *byte {
                words::NEWEST => now.as_bytes(),
                words::BEFORE => before.as_bytes(),
                words::IDENTIFIER => self.identifier.as_bytes(),
                _ => std::slice::from_ref(byte),
            })
            .copied()
            .collect()
    }

    /// False when the server takes no more.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        let kept = self.recent.len().saturating_sub(REMEMBERED);
        self.recent.drain(..kept);
        self.recent.extend_from_slice(bytes);
        let written = tokio::time::timeout(MOMENT, self.wire.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// Whether a request to end the invocation of that id was sent a moment ago, in whatever way.
    pub(super) fn has_named(&self, id: &str) -> bool {
        let sent = String::from_utf8_lossy(&self.recent);
        sent.contains(&format!("{PREFIX}{id}/"))
    }

    pub(super) async fn finish_writing(&mut self) {
        // The server may be gone.
        let _ = self.wire.shutdown().await;
    }

    /// What the server has said and not been heard yet.
    pub(super) async fn read(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(Ok(read @ 1..)) =
            tokio::time::timeout(MOMENT, self.wire.read(&mut buffer)).await
        {
            heard.extend_from_slice(&buffer[..read]);
        }
        let said = String::from_utf8_lossy(&heard);
        if let Some((_, told)) = said.split_once("lambda-extension-identifier: ") {
            self.identifier = told.chars().take(36).collect();
        }
        heard
    }
}

/// Of one answer whose length is told.
pub(super) fn status_and_body(answer: &[u8]) -> (u16, String) {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}
