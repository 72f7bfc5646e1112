//! What runs WebAssembly functions: this program, started anew; and what looks at them before.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use api::{ModuleError, Modules};
use async_trait::async_trait;
use bytes::Bytes;
use function::PackageError;
use instance::{LaunchError, WasmConfig, WasmLauncher};

/// What an account's worker may have of the machine's memory: as much as all of its functions use that
/// run at a time. At least [`LEAST`].
const SHARE_PERCENT: u64 = 50;

/// In bytes.
const LEAST: u64 = 2 << 30;

/// Workers of this program's own kind, with their folders in the data folder `dir`.
///
/// # Errors
/// When this program's file or the machine's memory is not to be found.
pub(super) fn config(dir: &Path) -> anyhow::Result<WasmConfig> {
    let executable = std::env::current_exe().context("find this program's file")?;
    let machine = rustix::system::sysinfo();
    let total = machine.totalram as u64 * u64::from(machine.mem_unit);
    Ok(WasmConfig {
        executable,
        arguments: vec!["wasm-worker".into()],
        artifacts: dir.join("cache").join("wasm"),
        scratch: dir.join("workers"),
        memory: (total / 100 * SHARE_PERCENT).max(LEAST),
    })
}

/// Has modules compiled when they are deployed.
pub(super) struct Compiling {
    pub(super) launcher: Arc<WasmLauncher>,
    pub(super) account: String,
    /// Where packages are unpacked for it.
    pub(super) folder: PathBuf,
}

#[async_trait]
impl Modules for Compiling {
    async fn check(
        &self,
        function: &str,
        handler: &str,
        package: Bytes,
    ) -> Result<(), ModuleError> {
        let folder = self.folder.clone();
        let unpacking = tokio::task::spawn_blocking(move || {
            let unpacked = tempfile::tempdir_in(folder)?;
            match function::unpack(&package, unpacked.path()) {
                Ok(()) => Ok(Some(unpacked)),
                Err(PackageError::Io { source, .. }) => Err(source),
                // Whoever is to keep the package will say so in its own words.
                Err(
                    PackageError::Malformed { .. }
                    | PackageError::Refused { .. }
                    | PackageError::TooLarge { .. },
                ) => Ok(None),
            }
        });
        let unpacked = unpacking.await.map_err(io::Error::other).flatten();
        let Some(unpacked) = unpacked.map_err(unavailable)? else {
            return Ok(());
        };
        let compiled = self
            .launcher
            .compile(&self.account, function, unpacked.path(), handler);
        compiled.await.map_err(|error| match error {
            LaunchError::Module { reason, .. } => {
                ModuleError::Refused(format!("Function {function} cannot be run: {reason}."))
            }
            error => unavailable(error),
        })
    }
}

fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> ModuleError {
    ModuleError::Unavailable {
        source: Box::new(source),
    }
}

impl std::fmt::Debug for Compiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiling").finish_non_exhaustive()
    }
}
