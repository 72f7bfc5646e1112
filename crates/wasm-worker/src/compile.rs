//! From a package's module to an artifact.

use std::fs;

use bytes::Bytes;
use instance::wasm_protocol::Report;
use wasmtime::{Engine, ExternType, Module, Store};

use crate::limits::{Budget, Limits};
use crate::wasi::{self, Host};

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
    check(engine, &module)?;
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

/// Whether the module has what a command has, and asks for nothing that is not there.
fn check(engine: &Engine, module: &Module) -> Result<(), String> {
    let start = module
        .get_export("_start")
        .and_then(|it| it.func().cloned());
    if !start.is_some_and(|it| it.params().len() == 0 && it.results().len() == 0) {
        return Err(
            "its module is not a WASI command: it exports no function _start without parameters"
                .to_owned(),
        );
    }
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        return Err("its module is not a WASI command: it exports no memory".to_owned());
    }
    let linker = wasi::linker(engine).map_err(|error| format!("{error:#}"))?;
    let limits = Limits::new(0, Budget::of(0));
    let mut store = Store::new(engine, Host::new(Bytes::new(), Vec::new(), limits));
    for import in module.imports() {
        if linker.get_by_import(&mut store, &import).is_none() {
            return Err(format!(
                "its module imports {}.{}, which is not there: a function gets what \
                 wasi_snapshot_preview1 has",
                import.module(),
                import.name()
            ));
        }
    }
    linker
        .instantiate_pre(module)
        .map(|_| ())
        .map_err(|error| format!("its module cannot be linked: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_refused_with_the_reason() {
        let engine = crate::engine::compiler().unwrap();
        let refused = |bytes: &[u8]| artifact(&engine, bytes).unwrap_err();
        assert!(refused(b"").contains("not a WebAssembly module"));
        assert!(refused(b"#!/bin/sh\n").contains("not a WebAssembly module"));
        assert!(refused(b"\0asm\x0d\0\x01\0").contains("a component"));
        assert!(refused(b"\0asm\x01\0\0\0").contains("_start"));
        assert!(refused(b"\0asm\x01\0\0\0\xff").contains("cannot be compiled"));
    }
}
