//! What a program sees of the world: WASI preview 1, as far as it concerns a command without files.
//!
//! There are three descriptors: the event on 0, the result on 1, the log on 2; for a program that is
//! handed its event, nothing on 0 and the log on 1 too. There are clocks, random
//! numbers, sleep, the environment and one argument. Everything else of the interface is there, so that
//! programs made with any toolchain can be linked, and answers with the error of a system on which no
//! folder and no socket was granted: no path leads anywhere because there is none to begin at.
//!
//! A program is hostile: every address, length and number that it hands over is checked against its own
//! memory, and no call does more work than a bound that is not the program's, without letting others go
//! on in between.

mod absent;
mod environment;
mod memory;
mod poll;
mod streams;
mod time;

use bytes::Bytes;
use wasmtime::{Engine, Linker};

use crate::entry::{Given, World};
use crate::limits::{Budget, Limits};
use crate::log::Log;
use crate::output::Output;

/// The interface's name, which every import has as its module.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// A program's name, its only argument.
pub(crate) const ARGUMENTS: [&str; 1] = ["function"];

/// How many parts one call may have: as many as on Linux.
const MOST_PARTS: u32 = 1024;

/// The descriptors that are there until they are closed.
const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// One instance's world.
pub(crate) struct Host {
    limits: Limits,
    log: Option<Log>,
    event: Bytes,
    output: Output,
    printed: Printed,
    environment: Vec<String>,
    closed: [bool; 3],
}

/// What it is that a program prints to its standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    Result,
    Log,
}

/// A program has asked to end, with this status.
#[derive(Debug, thiserror::Error)]
#[error("exit status {0}")]
pub(crate) struct Exit(pub(crate) u32);

/// What a call answers when it does not succeed. The numbers are the interface's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errno {
    BadDescriptor = 8,
    Fault = 21,
    Invalid = 28,
    NoSuchCall = 52,
    NotADirectory = 54,
    NotASocket = 57,
    NotSupported = 58,
    NoSeek = 70,
}

type Answer = Result<(), Errno>;

impl Host {
    /// The world of a command.
    pub(crate) fn new(given: Given) -> Self {
        let Given {
            event,
            environment,
            limits,
            log,
        } = given;
        Self {
            limits,
            log,
            event,
            output: Output::default(),
            printed: Printed::Result,
            environment,
            closed: [false; 3],
        }
    }

    /// A world for a program that is only looked at.
    pub(crate) fn nobody() -> Self {
        Self::new(Given {
            event: Bytes::new(),
            environment: Vec::new(),
            limits: Limits::new(0, Budget::of(0)),
            log: None,
        })
    }

    /// The event, for a program that is handed it: its standard input is empty from now on, and its
    /// standard output is its log.
    pub(crate) fn take_event(&mut self) -> Bytes {
        self.printed = Printed::Log;
        std::mem::take(&mut self.event)
    }

    /// Takes what is written to standard output.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self.printed {
            Printed::Result => self.output.write(bytes),
            Printed::Log => self.print(bytes),
        }
    }

    /// Takes what a program has to say that does not print it.
    pub(crate) fn answer(&mut self, bytes: &[u8]) {
        self.output = Output::of(bytes);
    }

    /// Takes a piece of the log.
    pub(crate) fn print(&self, text: &[u8]) {
        if let Some(log) = &self.log {
            log.write(text);
        }
    }

    /// Whether a descriptor is there.
    fn open(&self, descriptor: u32) -> Answer {
        match self.closed.get(descriptor as usize) {
            Some(false) => Ok(()),
            Some(true) | None => Err(Errno::BadDescriptor),
        }
    }
}

impl World for Host {
    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    fn take_output(&mut self) -> (u64, Bytes) {
        std::mem::take(&mut self.output).into_parts()
    }
}

/// The answer as a program sees it.
fn number(answer: Answer) -> i32 {
    match answer {
        Ok(()) => 0,
        Err(errno) => errno as i32,
    }
}

/// The whole interface.
///
/// # Errors
/// Never: no name is defined twice.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    streams::link(&mut linker)?;
    environment::link(&mut linker)?;
    time::link(&mut linker)?;
    poll::link(&mut linker)?;
    absent::link(&mut linker)?;
    Ok(linker)
}
