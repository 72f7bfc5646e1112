//! From a package's module or component to an artifact.

use std::fs;

use instance::wasm_protocol::Report;
use wasmtime::Engine;

use crate::binary::Binary;
use crate::entry::Imports;

/// Compiles the file at `path`, or says to its author why it cannot be a function.
///
/// `engine` is one that could run it, so that what does not fit its pool is refused here.
pub(crate) fn compile(engine: &Engine, path: &str) -> Report {
    let compiled = fs::read(path)
        .map_err(|error| format!("its file cannot be read: {error}"))
        .and_then(|bytes| artifact(engine, &bytes));
    match compiled {
        Ok(artifact) => Report::Compiled {
            artifact: artifact.into(),
        },
        Err(reason) => Report::Refused { reason },
    }
}

fn artifact(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let binary = Binary::compile(engine, bytes)?;
    let imports = Imports::new(engine).map_err(|error| format!("{error:#}"))?;
    imports.entry(&binary)?;
    binary
        .serialize()
        .map_err(|error| format!("what was compiled cannot be written: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_function_is_refused_with_the_reason() {
        let engine = crate::engine::new(1).unwrap();
        let refused = |bytes: &[u8]| artifact(&engine, bytes).unwrap_err();
        assert!(refused(b"").contains("neither a WebAssembly module nor"));
        assert!(refused(b"#!/bin/sh\n").contains("neither a WebAssembly module nor"));
        let neither = refused(b"\0asm\x01\0\0\0");
        assert!(neither.contains("_start") && neither.contains("tidemill_handle"));
        let neither = refused(b"\0asm\x0d\0\x01\0");
        assert!(neither.contains("wasi:cli/run") && neither.contains("handle"));
        assert!(refused(b"\0asm\x01\0\0\0\xff").contains("its module cannot be compiled"));
        assert!(refused(b"\0asm\x0d\0\x01\0\xff").contains("its component cannot be compiled"));
    }
}
