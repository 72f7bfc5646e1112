//! The log contract, its conformance suite, and the embedded and in-memory logs.
