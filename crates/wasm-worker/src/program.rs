//! A function's program that is ready to run.

use std::time::Duration;

use wasmtime::Engine;

use crate::binary::Binary;
use crate::entry::{Entry, Imports};

/// A loaded program with what its function may have.
pub(crate) struct Program {
    pub(crate) entry: Entry,
    /// Linear memory, in bytes.
    pub(crate) memory: u64,
    pub(crate) timeout: Duration,
    /// `NAME=value`.
    pub(crate) environment: Vec<String>,
}

impl Program {
    /// Maps the artifact that the server names.
    ///
    /// # Errors
    /// When it is of another engine, cannot be read, or asks for what the pool does not have.
    pub(crate) fn load(
        engine: &Engine,
        imports: &Imports,
        artifact: &str,
        memory: u64,
        timeout: Duration,
        environment: Vec<String>,
    ) -> wasmtime::Result<Self> {
        let binary = Binary::load(engine, artifact)?;
        Ok(Self {
            entry: imports.entry(&binary).map_err(wasmtime::Error::msg)?,
            memory,
            timeout,
            environment,
        })
    }
}
