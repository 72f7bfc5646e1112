//! What the server stands on, as the configuration says: the event log, and the store of code
//! packages, functions and triggers. Everything above is the same on all of them.

mod log;
mod node;
mod s3;
mod store;

pub(crate) use log::Log;
pub(crate) use s3::{credentials_of, keys_of};
pub(crate) use store::{Buckets, Store};
