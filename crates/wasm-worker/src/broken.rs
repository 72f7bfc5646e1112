//! Programs that do not keep to the interface of their kind.

use crate::wasi::Exit;

/// What a program has done that its interface does not allow. The text is for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// There is no room for the event.
    #[error("tidemill_alloc has no room for an event of {0} bytes")]
    NoRoom(u32),
    /// The room is not where it is said to be.
    #[error("tidemill_alloc returned {0:#x}, where the memory has no {1} bytes")]
    Room(u32, u32),
    /// The answer is not where it is said to be.
    #[error("tidemill_handle returned an answer at {0:#x}, where the memory has no {1} bytes")]
    Answer(u32, u32),
    /// The text to be logged is not where it is said to be.
    #[error("tidemill.log was called with {0:#x}, where the memory has no {1} bytes")]
    Text(u32, u32),
    /// Something of a component is not as it is said to be, or is more than there can be: what it has
    /// returned, or a call of its own.
    #[error("a call of a component that cannot be made: {0}")]
    Call(String),
    /// It has ended itself as if nothing were wrong.
    #[error("exit status 0 before there was an answer")]
    Exit,
}

/// The error of a program that was to return its answer.
pub(crate) fn unanswered(error: wasmtime::Error) -> wasmtime::Error {
    match error.downcast_ref::<Exit>() {
        Some(Exit(0)) => Broken::Exit.into(),
        Some(Exit(_)) | None => error,
    }
}
