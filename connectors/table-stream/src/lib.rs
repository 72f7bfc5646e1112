//! A database's tables as a source of events.
//!
//! Nothing is here yet. What comes: PostgreSQL by logical replication (a snapshot, then the stream,
//! the slot acknowledged after the durable append, a lost slot healed by a new snapshot), and SQLite
//! as the embedded table; rows reach functions in the record shape of DynamoDB Streams.
