//! What an instance prints, cut into lines: its function, and the extensions beside it.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::net::unix::pipe;

use crate::lines::{self, Partial};

/// How much is read at once.
const CHUNK: usize = lines::LONGEST;

/// How much [`Lines::rest`] reads at most: a pipe holds 64 KiB unless its writer enlarges it, to
/// a mebibyte at most.
const REST: usize = 1024 * 1024;

/// Who has printed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printer {
    /// The runtime's process, and what it has started.
    Function,
    /// An external extension.
    Extension,
}

/// Everything that an instance prints.
pub(crate) struct Output {
    function: Lines,
    extensions: Option<Lines>,
}

impl Output {
    /// Reads from the pipes that are standard output and standard error, of the function and of its
    /// external extensions, where there are any.
    pub(crate) fn new(function: OwnedFd, extensions: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            function: Lines::new(function)?,
            extensions: extensions.map(Lines::new).transpose()?,
        })
    }

    /// The next whole lines of either. Waits for ever once nobody can print any more. Cancel safe.
    pub(crate) async fn lines(&mut self) -> (Printer, Bytes) {
        let Some(extensions) = &mut self.extensions else {
            return (Printer::Function, self.function.lines().await);
        };
        tokio::select! {
            lines = self.function.lines() => (Printer::Function, lines),
            lines = extensions.lines() => (Printer::Extension, lines),
        }
    }

    /// Everything that has been printed so far, a last line without its end included. Does not
    /// wait: what was written before the call is in the pipes.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = (Printer, Bytes)> + use<> {
        let function = self.function.rest();
        let extensions = self.extensions.as_mut().and_then(Lines::rest);
        let function = function.map(|lines| (Printer::Function, lines));
        let extensions = extensions.map(|lines| (Printer::Extension, lines));
        extensions.into_iter().chain(function)
    }
}

/// The reading end of a pipe.
struct Lines {
    pipe: pipe::Receiver,
    partial: Partial,
    closed: bool,
}

impl Lines {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: pipe::Receiver::from_owned_fd(pipe)?,
            partial: Partial::default(),
            closed: false,
        })
    }

    /// The next whole lines. Waits for ever once nobody can print any more. Cancel safe.
    async fn lines(&mut self) -> Bytes {
        while !self.closed {
            // An error means that the runtime is going away, and this future with it.
            if self.pipe.readable().await.is_ok()
                && self.fill()
                && let Some(lines) = self.partial.cut()
            {
                return lines;
            }
        }
        std::future::pending().await
    }

    /// All that is there.
    fn rest(&mut self) -> Option<Bytes> {
        let mut read = 0;
        while read < REST && !self.closed {
            let before = self.partial.buffer().len();
            if !self.fill() {
                break;
            }
            read += self.partial.buffer().len() - before;
        }
        self.partial.rest()
    }

    /// Reads once; whether there was something.
    fn fill(&mut self) -> bool {
        let buffer = self.partial.buffer();
        buffer.reserve(CHUNK);
        match self.pipe.try_read_buf(buffer) {
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
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn piped() -> (io::PipeWriter, Lines) {
        let (reader, writer) = io::pipe().unwrap();
        (writer, Lines::new(reader.into()).unwrap())
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
