//! A folder or bucket of files as a source of events.
