//! Event source mappings: topics of our own Kafka port → functions.
//!
//! Only mappings whose bootstrap servers are our own port exist; they read the log directly. A
//! foreign cluster is read by a connector, which writes to a topic of ours.

mod create;
mod destination;
mod manage;
mod settings;
mod shape;

pub(crate) use create::create;
pub(crate) use destination::{ensure_destination, failure_destination, shown_destination};
pub(crate) use manage::{delete, get, list, update};
