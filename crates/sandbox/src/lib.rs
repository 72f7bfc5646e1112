//! Process trees: started with limits, watched, and ended completely.
//!
//! A [`Spawner`] starts a [`Program`] as the root of a [`Tree`]: in a session of its own, with an
//! environment and descriptors that were chosen for it, bound to die with the server. Killing a
//! tree kills what the root has started as well, wherever it has gone: processes that took a
//! session of their own, and those whose parents have ended.
//!
//! Invariants: a tree that is dropped is killed; after [`Tree::kill`] none of it is alive; no
//! descriptor of the server's reaches a program unless it was handed over.
//!
//! What can be limited depends on the machine. [`Spawner::limits`] says it as a value, so that the
//! server can tell its user. Processes are not isolated from one another here: they see the same
//! files, network and process table, and run as the server's user.
//!
//! This crate knows nothing of functions. It is the only one with unsafe code: what a child does
//! between fork and exec, and the registration of a descriptor with the runtime.

mod child;
mod descendants;
mod exit;
mod group;
mod spawner;
mod tree;

pub use exit::{Ended, Exit};
pub use group::{Limits, MemoryLimit};
pub use spawner::{Error, Program, Spawner};
pub use tree::Tree;

#[cfg(test)]
mod tests;
