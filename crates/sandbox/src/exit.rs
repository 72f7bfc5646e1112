//! How a process ended.

use std::fmt;

use rustix::process::WaitIdStatus;

/// How the root of a tree ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// A tree that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How the first of its programs ended; by signal 9 when all were still running.
    pub exit: Exit,
    /// Which companion's end that was, counted from 0; `None` for the root's own.
    pub companion: Option<usize>,
    /// Whether the kernel killed a member because the tree passed its memory limit. Always false
    /// where the limit is not enforced.
    pub out_of_memory: bool,
}

impl Exit {
    /// By SIGKILL.
    pub const KILLED: Self = Self::Signal(libc::SIGKILL);

    pub(crate) fn from_wait(status: &WaitIdStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Status(code),
            (None, Some(signal)) => Self::Signal(signal),
            // Only ends are waited for; this one could not be read.
            (None, None) => Self::Signal(libc::SIGKILL),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = match self {
            Self::Status(code) => return write!(f, "exit status {code}"),
            Self::Signal(signal) => *signal,
        };
        let name = match signal {
            libc::SIGABRT => "aborted",
            libc::SIGBUS => "bus error",
            libc::SIGFPE => "floating point exception",
            libc::SIGHUP => "hangup",
            libc::SIGILL => "illegal instruction",
            libc::SIGINT => "interrupt",
            libc::SIGKILL => "killed",
            libc::SIGPIPE => "broken pipe",
            libc::SIGSEGV => "segmentation fault",
            libc::SIGTERM => "terminated",
            _ => return write!(f, "signal: {signal}"),
        };
        write!(f, "signal: {name}")
    }
}
