//! The processes of an instance, with walls around them or without.

use std::io;
use std::os::fd::OwnedFd;

use sandbox::{Ended, Exit, Freezer, Sandbox, Tree};

use super::scratch::Scratch;

/// What runs. Dropping it kills all of it.
pub(crate) enum Body {
    /// In a sandbox of its own.
    Sandboxed(Sandbox),
    /// As ordinary processes, with a temporary folder of their own.
    Plain(Tree, Scratch),
}

impl Body {
    /// The reading end of standard output and standard error.
    pub(crate) fn output(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.output(),
            Self::Plain(tree, _) => tree.output(),
        }
    }

    /// That of what runs beside it, where something does. It is handed out once.
    pub(super) fn take_companions_output(&mut self) -> Option<OwnedFd> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.take_companions_output(),
            Self::Plain(..) => None,
        }
    }

    /// Waits for the end of the first process. Cancel safe.
    pub(crate) async fn exited(&self) -> Exit {
        match self {
            Self::Sandboxed(sandbox) => sandbox.exited().await,
            Self::Plain(tree, _) => tree.exited().await,
        }
    }

    pub(crate) fn has_exited(&self) -> Option<Exit> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.has_exited(),
            Self::Plain(tree, _) => tree.has_exited(),
        }
    }

    /// The most memory that the first process has used, in bytes, while it lives.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.peak_memory(),
            Self::Plain(tree, _) => tree.peak_memory(),
        }
    }

    /// Asks the runtime to end. Without a sandbox there is nobody whom that would give time.
    pub(crate) fn terminate(&self) {
        match self {
            Self::Sandboxed(sandbox) => sandbox.terminate(),
            Self::Plain(..) => {}
        }
    }

    /// Waits until all that was started has ended by itself.
    pub(crate) async fn all_exited(&self) {
        match self {
            Self::Sandboxed(sandbox) => sandbox.all_exited().await,
            Self::Plain(tree, _) => {
                tree.exited().await;
            }
        }
    }

    /// Initialisation is over: from now on processor time is in proportion to memory.
    pub(crate) fn limit_cpu(&self) {
        match self {
            Self::Sandboxed(sandbox) => {
                if let Err(error) = sandbox.limit_cpu() {
                    tracing::warn!(%error, "the processor time of an instance is not limited");
                }
            }
            Self::Plain(..) => {}
        }
    }

    /// What stops it between invocations, where that can be done.
    pub(crate) fn freezer(&self) -> Option<Freezer> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.freezer(),
            Self::Plain(..) => None,
        }
    }

    /// Kills everything and returns when nothing is left, no file either.
    pub(crate) async fn kill(self) -> Ended {
        match self {
            Self::Sandboxed(sandbox) => sandbox.kill().await,
            Self::Plain(tree, scratch) => {
                let ended = tree.kill().await;
                scratch.remove().await;
                ended
            }
        }
    }
}
