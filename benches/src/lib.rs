//! Benchmarks of record.
