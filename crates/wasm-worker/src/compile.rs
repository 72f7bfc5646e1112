//! From a package's module to an artifact.

use std::fs;

use instance::wasm_protocol::Report;
use wasmtime::{Engine, Module};

use crate::entry::Imports;

/// Compiles the file at `path`, or says to its author why it cannot be a function.
pub(crate) fn compile(engine: &Engine, path: &str) -> Report {
    let compiled = fs::read(path)
        .map_err(|error| format!("its module cannot be read: {error}"))
        .and_then(|module| artifact(engine, &module));
    match compiled {
        Ok(artifact) => Report::Compiled {
            artifact: artifact.into(),
        },
        Err(reason) => Report::Refused { reason },
    }
}

fn artifact(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, String> {
    check_kind(bytes)?;
    let module = Module::new(engine, bytes)
        .map_err(|error| format!("its module cannot be compiled: {error:#}"))?;
    let imports = Imports::new(engine).map_err(|error| format!("{error:#}"))?;
    imports.module(&module)?;
    module
        .serialize()
        .map_err(|error| format!("its module cannot be written: {error:#}"))
}

/// A core module begins with its magic, version and layer.
fn check_kind(bytes: &[u8]) -> Result<(), String> {
    match bytes.get(..8) {
        Some(b"\0asm\x01\0\0\0") => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Err(
            "it is a component, and only modules are run: build it for wasm32-wasip1".to_owned(),
        ),
        Some(_) | None => Err("it is not a WebAssembly module".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_function_is_refused_with_the_reason() {
        let engine = crate::engine::compiler().unwrap();
        let refused = |bytes: &[u8]| artifact(&engine, bytes).unwrap_err();
        assert!(refused(b"").contains("not a WebAssembly module"));
        assert!(refused(b"#!/bin/sh\n").contains("not a WebAssembly module"));
        assert!(refused(b"\0asm\x0d\0\x01\0").contains("a component"));
        let neither = refused(b"\0asm\x01\0\0\0");
        assert!(neither.contains("_start") && neither.contains("tidemill_handle"));
        assert!(refused(b"\0asm\x01\0\0\0\xff").contains("cannot be compiled"));
    }
}
