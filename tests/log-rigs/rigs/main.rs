//! Crash rigs of the embedded log: real processes, a real disk, and an oracle that was told what was
//! acknowledged.
//!
//! One binary. Each module is a way to fail; each prints what it did, which `cargo xtask crash`
//! shows. What a machine cannot do (loop devices, strace) is skipped and named.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read the environment, give deadlines to real processes and say what they did"
)]

mod child;
mod damage;
mod folder;
mod full;
mod kill;
mod loop_disk;
mod power;
mod rounds;
mod strace;
mod sync_error;
mod syscall;
