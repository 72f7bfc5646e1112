//! The launcher of all runtimes.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Instance, LaunchError, Launcher, ProcessLauncher, Runtime, Spec, WasmLauncher};

/// Has each function's instances started by what runs its runtime.
pub struct Launchers {
    processes: Arc<ProcessLauncher>,
    wasm: Arc<WasmLauncher>,
}

impl Launchers {
    /// Both of them.
    #[must_use]
    pub const fn new(processes: Arc<ProcessLauncher>, wasm: Arc<WasmLauncher>) -> Self {
        Self { processes, wasm }
    }
}

#[async_trait]
impl Launcher for Launchers {
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        match spec.runtime {
            Runtime::Wasm => self.wasm.launch(spec).await,
            Runtime::Python { .. }
            | Runtime::Node { .. }
            | Runtime::Java { .. }
            | Runtime::Ruby { .. }
            | Runtime::Dotnet { .. }
            | Runtime::Provided
            | Runtime::ProvidedAl2
            | Runtime::ProvidedAl2023 => self.processes.launch(spec).await,
        }
    }
}
