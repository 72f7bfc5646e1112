//! `tidemill wasm-worker`: what a server starts in a sandbox to run WebAssembly functions.

use std::process::ExitCode;

use crate::{cli, failed};

/// Works until the server is gone. Blocks.
pub(crate) fn run(arguments: cli::WasmWorker) -> ExitCode {
    match wasm_worker::run(arguments.memory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&anyhow::Error::new(error)),
    }
}
