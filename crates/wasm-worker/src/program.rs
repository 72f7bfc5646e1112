//! A module that is ready to run.

use std::time::Duration;

use wasmtime::{Engine, Module};

use crate::entry::{Entry, Imports};

/// A loaded module with what its function may have.
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
        #[expect(
            unsafe_code,
            reason = "the engine's only way to load what was compiled before"
        )]
        // SAFETY: the file is one that this engine has written: the server alone writes to the folder
        // it is in, whole files only, and it names artifacts by the engine they are of. Whatever the
        // code in it does, it does in this process, whose walls are those of any function's.
        let module = unsafe { Module::deserialize_file(engine, artifact) }?;
        Ok(Self {
            entry: imports.module(&module).map_err(wasmtime::Error::msg)?,
            memory,
            timeout,
            environment,
        })
    }
}
