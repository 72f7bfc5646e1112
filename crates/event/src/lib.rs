//! Events and the records that carry them.
//!
//! A [`Record`] is what the log stores: key, value, headers, time. An [`Event`] is what a record
//! means: CloudEvents 1.0 in Kafka binding, binary mode. A record that a user published without
//! CloudEvents headers is still an event: its source is its topic and its id is its place
//! ([`Event::from_record`]).
//!
//! Pure data: no I/O, no clock, no knowledge of the log's files or of any cloud's JSON.

mod cloud_event;
mod id;
mod record;

pub use cloud_event::{Error, Event, Place};
pub use id::{EventId, SourceId, SourcePosition};
pub use record::{Header, Record};
