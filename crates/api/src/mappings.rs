//! Event source mappings: topics of our own Kafka port, and the streams of tables → functions.
//!
//! Mappings read the log directly. What is foreign is read by a connector, which writes to topics of
//! ours: a cluster's topics are mapped by our own bootstrap servers, a database's tables by the ARN
//! of a stream, and their handlers get what DynamoDB Streams would send.

mod create;
mod destination;
mod manage;
mod settings;
mod shape;
mod source;

pub(crate) use create::create;
pub(crate) use destination::{ensure_destination, failure_destination, shown_destination};
pub(crate) use manage::{delete, get, list, update};
