//! A database's tables as a source of events.
