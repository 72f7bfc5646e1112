//! What runs WebAssembly functions: a process in a sandbox, which the server starts and speaks to over
//! one connection.
//!
//! ```text
//!  server ── orders ──▶ Connection ──▶ fast lanes ──(still running after a tick)──▶ slow lane
//!     ▲                                    │                                           │
//!     └──────────── Replies ◀──────────────┴───────────────────────────────────────────┘
//! ```
//!
//! Every invocation gets an instance of its own from a pool of prepared memory, and nothing of it is
//! left for the next. A fast lane runs one for at most two ticks of a millisecond; what is not done by
//! then, or waits, moves to the slow lane, which is shared fairly and gives way to the fast ones. So a
//! short event never waits for a long one.
//!
//! A function is a module (`module`) or a component (`component`); and it is either a WASI command (the
//! event is its standard input, the result its standard output, its log its standard error) or it is
//! handed the event: a module in its memory (`core_abi`), a component by a function with a type. Which of
//! the four it is shows by what it exports. Of the system it sees its environment, clocks and random
//! numbers; there are no files, no folders and no sockets (see `wasi` for modules, `component::world` for
//! components).
//!
//! Invariants: an instance serves one invocation; it has no more memory than its function and no more
//! time; whatever it prints is bounded; a host call takes bounded time or lets others go on; while
//! nothing runs, no processor time is used. A fault of this process's own ends it, and the server starts
//! another.
//!
//! This crate knows nothing of functions' names, accounts or bills. It is run only inside a sandbox.

mod bare;
mod binary;
mod broken;
mod command;
mod compile;
mod component;
mod connection;
mod core_abi;
mod engine;
mod entry;
mod execution;
mod lanes;
mod limits;
mod log;
mod module;
mod output;
mod program;
mod replies;
mod ticker;
mod wasi;

pub use bare::Bare;
pub use connection::{Error, run};
