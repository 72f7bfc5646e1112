//! Programs in sandboxes: started, limited, watched, and ended completely.
//!
//! A [`Spawner`] starts a [`Job`] in a [`Sandbox`] of its own: other user, other root, other process
//! table, a network with nothing in it but what was granted, few system calls, no rights, bounded
//! memory, processor time, processes, descriptors and temporary files. [`PlainSpawner`] starts a
//! [`Program`] as a [`Tree`] of ordinary processes, for users who ask for no isolation.
//!
//! ```text
//!  server ── control ──▶ spawner processes        one thread each, fork into fresh namespaces
//!     │                       │
//!     └────── channel ──▶ first process (1)       root, mounts, listeners; then no right at all
//!                             │
//!                         the program (2)         user namespace of its own, filtered calls
//! ```
//!
//! A server that is root can give that up, and make the same sandboxes: it has [`Spawner::prepare`] do what
//! takes rights, becomes an [`Account`], and goes on with [`Prepared::start`].
//!
//! What takes time and depends on no job is done before there is one: sandboxes are kept ready, and in some
//! of them an [`Early`] program waits.
//!
//! Invariants: what is dropped is killed; after a kill nothing of it is alive; when the server ends,
//! however it does, so does everything; no descriptor of the server's reaches a program unless it was
//! handed over; no code of anybody else's runs in a sandbox before the job's, and none after it.
//!
//! What can be limited depends on the machine. [`Limits`] and [`Spawner::weaknesses`] say it as
//! values, so that the server can tell its user. A kernel of Linux 5.12 or later is needed.
//!
//! This crate knows nothing of functions. But for one place in `wasm-worker`, which loads compiled
//! code, it is the only one with unsafe code: what is done around fork and exec, system calls that
//! nobody wraps, and the registration of a descriptor with the runtime.

mod account;
mod confinement;
mod disk;
mod error;
mod exit;
mod group;
mod init;
mod plain;
mod program;
mod sandbox;
mod seccomp;
mod spawner;
mod wire;

pub use account::Account;
pub use error::Error;
pub use exit::{Ended, Exit};
pub use group::{Freezer, Limit, Limits};
pub use plain::{PlainSpawner, Tree};
pub use program::{Bind, Early, Job, Program, Temporary};
pub use sandbox::Sandbox;
pub use spawner::{Prepared, Spawner, SpawnerConfig};

#[cfg(test)]
mod tests;
