//! The gateway against a log in memory, through its socket.

mod admin;
mod client;
mod consumers;
mod data;
mod groups;
mod hostile;
mod offsets;
pub(crate) mod samples;
mod security;
mod sessions;
mod transactions;
mod versions;
