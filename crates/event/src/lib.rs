//! Events: identity, CloudEvents attributes, and their binding to log records. No I/O.
