//! What the crash rigs of the embedded log share: one workload, and one oracle that judges a log by
//! what the workload said of itself.
//!
//! The workload is a process of its own, since it is the one to die. It says on standard output what
//! it is about to do and what the log has answered ([`Said`]); a rig hears that in another process,
//! so what was said survives. What each writer does is a pure function of the seed ([`Plan`]), so the
//! [`Oracle`] knows every byte that may be found.
//!
//! Everything goes through the log's public contract; nothing here knows its files.

#![expect(clippy::print_stderr, reason = "tests say what they skip")]

mod job;
mod oracle;
mod plan;
mod random;
mod skip;

pub use job::{Job, Point, Resend, Said, Start, Then};
pub use oracle::{Findings, Oracle};
pub use plan::{BILLER, KEEPER, PRODUCER, Plan, Planned, WRITERS, config, open, topics};
pub use random::Random;
pub use skip::{program, skip};
