//! What an instance prints, cut into lines.

use std::io;
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};
use tokio::net::unix::pipe;

/// How much is read at once, and the longest line that is kept together.
const CHUNK: usize = 64 * 1024;

/// How much [`Output::rest`] reads at most: a pipe holds 64 KiB unless its writer enlarges it, to
/// a mebibyte at most.
const REST: usize = 1024 * 1024;

/// The reading end of the pipe that is an instance's standard output and standard error.
pub(super) struct Output {
    pipe: pipe::Receiver,
    /// The beginning of a line, or nothing.
    partial: BytesMut,
    closed: bool,
}

impl Output {
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: pipe::Receiver::from_owned_fd(pipe)?,
            partial: BytesMut::new(),
            closed: false,
        })
    }

    /// The next whole lines. Waits for ever once nobody can print any more. Cancel safe.
    pub(super) async fn lines(&mut self) -> Bytes {
        while !self.closed {
            // An error means that the runtime is going away, and this future with it.
            if self.pipe.readable().await.is_ok()
                && self.fill()
                && let Some(lines) = self.cut()
            {
                return lines;
            }
        }
        std::future::pending().await
    }

    /// Everything that has been printed so far, a last line without its end included. Does not
    /// wait: what was written before the call is in the pipe.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let mut read = 0;
        while read < REST && !self.closed {
            let before = self.partial.len();
            if !self.fill() {
                break;
            }
            read += self.partial.len() - before;
        }
        if self.partial.is_empty() {
            return None;
        }
        Some(ended(self.partial.split()))
    }

    /// Reads once; whether there was something.
    fn fill(&mut self) -> bool {
        self.partial.reserve(CHUNK);
        match self.pipe.try_read_buf(&mut self.partial) {
            Ok(0) => {
                self.closed = true;
                false
            }
            Ok(_) => true,
            Err(error) => {
                self.closed = error.kind() != io::ErrorKind::WouldBlock;
                false
            }
        }
    }

    /// Cuts off the whole lines, or a line that has grown too long.
    fn cut(&mut self) -> Option<Bytes> {
        match self.partial.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => Some(self.partial.split_to(end + 1).freeze()),
            None if self.partial.len() >= CHUNK => Some(ended(self.partial.split())),
            None => None,
        }
    }
}

/// `text` with a line's end.
fn ended(mut text: BytesMut) -> Bytes {
    if text.last() != Some(&b'\n') {
        text.extend_from_slice(b"\n");
    }
    text.freeze()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn piped() -> (io::PipeWriter, Output) {
        let (reader, writer) = io::pipe().unwrap();
        (writer, Output::new(reader.into()).unwrap())
    }

    #[tokio::test]
    async fn lines_are_whole_and_the_rest_is_ended() {
        let (mut writer, mut output) = piped();
        writer.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(output.lines().await, "one\ntwo\n");
        writer.write_all(b"ee").unwrap();
        assert_eq!(output.rest().unwrap(), "three\n");
        assert_eq!(output.rest(), None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let (mut writer, mut output) = piped();
        let writing = std::thread::spawn(move || {
            writer.write_all(&[b'x'; CHUNK]).unwrap();
            writer
        });
        let cut = output.lines().await;
        assert_eq!(cut.len(), CHUNK + 1);
        assert!(cut.ends_with(b"x\n"));
        let mut writer = writing.join().unwrap();
        writer.write_all(b"tail").unwrap();
        assert_eq!(output.rest().unwrap(), "tail\n");
    }
}
