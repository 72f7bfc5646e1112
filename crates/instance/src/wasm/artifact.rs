//! Compiled modules and components (here modules, all of them), kept by what they were compiled from: bytes
//! that are the one are never the other, so that no name stands for both.
//!
//! An artifact is native code: whoever writes one into a worker's folder runs what they like in that
//! worker. So the folder is the server's, and what is in it was compiled from a package of the same
//! account, in a sandbox that saw nothing but the package. It is a cache: anything missing is compiled
//! anew.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::WasmLauncher;
use super::body::{self, Shown};
use super::worker::{ARTIFACTS, Worker};
use crate::{Isolation, LaunchError, Spec};

/// How long a module may take to be compiled, and how much memory. Thirteen megabytes of JavaScript
/// engine take ten seconds and half a gibibyte.
const COMPILE_LIMIT: Duration = Duration::from_secs(60);
const COMPILE_BYTES: u64 = 2 << 30;

/// Where a worker that compiles finds the package in its sandbox.
const PACKAGE: &str = "/var/task";

/// How many modules are compiled at a time: each may take [`COMPILE_BYTES`].
const COMPILERS: usize = 2;

/// The folder of artifacts.
pub(super) struct Artifacts {
    folder: PathBuf,
    compilers: Semaphore,
}

impl Artifacts {
    /// What was not completed before a crash goes.
    pub(super) fn new(folder: PathBuf) -> Self {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // Accounts have folders, which this leaves alone.
            let _ = fs::remove_file(entry.path());
        }
        Self {
            folder,
            compilers: Semaphore::const_new(COMPILERS),
        }
    }

    /// An account's own.
    pub(super) fn folder(&self, account: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(account);
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// Removes what another engine has compiled for an account.
    pub(super) fn keep_only(&self, account: &str, engine: &str) {
        let ending = ending(engine);
        let entries = fs::read_dir(self.folder.join(account))
            .into_iter()
            .flatten();
        for entry in entries.flatten() {
            if !entry.file_name().to_string_lossy().ends_with(&ending) {
                // It is looked for again at the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The artifact of a package's module for `engine`, as a worker's own root has it. Compiled if it has
    /// not been before.
    pub(super) async fn of(
        &self,
        package: &Package<'_>,
        engine: &str,
        launcher: &WasmLauncher,
    ) -> Result<String, LaunchError> {
        let failed = |source| package.failed(source);
        let module = package.module()?;
        let name = artifact_name(package.code.join(&module), engine).await;
        let name = name.map_err(failed)?;
        let folder = self.folder(package.account).map_err(failed)?;
        if !folder.join(&name).is_file() {
            let compiler = Compiler::start(package, launcher).await?;
            if compiler.worker.engine() != engine {
                let other = "the worker's program has been exchanged while the server runs";
                return Err(failed(io::Error::other(other)));
            }
            let artifact = compiler.compile(package, &module).await?;
            let kept = self.keep(folder.join(&name), artifact).await;
            kept.map_err(failed)?;
        }
        let shown = Shown::new(&folder, ARTIFACTS);
        let path = shown.path(&launcher.isolation).join(name);
        Ok(path.to_string_lossy().into_owned())
    }

    /// Has the artifact of a package's module at hand before anybody invokes it.
    pub(super) async fn prepare(
        &self,
        package: &Package<'_>,
        launcher: &WasmLauncher,
    ) -> Result<(), LaunchError> {
        let failed = |source| package.failed(source);
        let module = package.module()?;
        let compiler = Compiler::start(package, launcher).await?;
        let name = artifact_name(package.code.join(&module), compiler.worker.engine()).await;
        let folder = self.folder(package.account).map_err(failed)?;
        let file = folder.join(name.map_err(failed)?);
        if !file.is_file() {
            let artifact = compiler.compile(package, &module).await?;
            self.keep(file, artifact).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn keep(&self, file: PathBuf, artifact: Bytes) -> io::Result<()> {
        let beside = self.folder.join(Uuid::new_v4().simple().to_string());
        let written = tokio::task::spawn_blocking(move || write(&file, &beside, &artifact));
        written.await.map_err(io::Error::other)?
    }
}

/// A package, and where its module is.
pub(super) struct Package<'a> {
    pub(super) account: &'a str,
    pub(super) function: &'a str,
    pub(super) code: &'a Path,
    pub(super) handler: &'a str,
}

impl<'a> Package<'a> {
    pub(super) fn of(spec: &'a Spec) -> Self {
        Self {
            account: &spec.account,
            function: &spec.function,
            code: &spec.code,
            handler: &spec.handler,
        }
    }

    /// The module's file, from the package's folder on.
    fn module(&self) -> Result<PathBuf, LaunchError> {
        module_in(self.code, self.handler).ok_or_else(|| {
            self.refused(format!(
                "its package has no file {} or {0}.wasm",
                self.handler
            ))
        })
    }

    fn refused(&self, reason: String) -> LaunchError {
        LaunchError::Module {
            function: self.function.to_owned(),
            reason,
        }
    }

    fn failed(&self, source: io::Error) -> LaunchError {
        LaunchError::Start {
            function: self.function.to_owned(),
            source,
        }
    }
}

fn ending(engine: &str) -> String {
    format!(".{engine}.cwasm")
}

/// The file that `handler` names in the package, from the package's folder on: itself, or itself with
/// `.wasm` behind it. `None` when there is none, or the name leads elsewhere.
fn module_in(code: &Path, handler: &str) -> Option<PathBuf> {
    let is_inside = Path::new(handler)
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if !is_inside || handler.is_empty() {
        return None;
    }
    [handler.to_owned(), format!("{handler}.wasm")]
        .into_iter()
        .map(PathBuf::from)
        .find(|file| code.join(file).is_file())
}

/// By the module's digest and the engine.
async fn artifact_name(file: PathBuf, engine: &str) -> io::Result<String> {
    let digested = tokio::task::spawn_blocking(move || {
        let mut hasher = Sha256::new();
        io::copy(&mut fs::File::open(file)?, &mut hasher)?;
        let digest = hasher.finalize();
        Ok::<String, io::Error>(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    });
    let digest = digested.await.map_err(io::Error::other)??;
    Ok(format!("{digest}{}", ending(engine)))
}

/// A worker that sees a package and nothing else, to compile its module.
struct Compiler<'a> {
    worker: Worker,
    shown: Shown<'a>,
    isolation: &'a Isolation,
    _permit: Option<SemaphorePermit<'a>>,
}

impl<'a> Compiler<'a> {
    async fn start(package: &Package<'a>, launcher: &'a WasmLauncher) -> Result<Self, LaunchError> {
        let (config, isolation) = (&launcher.config, &launcher.isolation);
        let shown = Shown::new(package.code, PACKAGE);
        let permit = launcher.artifacts.compilers.acquire().await;
        let worker = async {
            Worker::over(body::start(config, isolation, &shown, COMPILE_BYTES).await?).await
        };
        let worker = worker.await.map_err(|source| package.failed(source))?;
        Ok(Self {
            worker,
            shown,
            isolation,
            // It is never closed.
            _permit: permit.ok(),
        })
    }

    async fn compile(self, package: &Package<'_>, module: &Path) -> Result<Bytes, LaunchError> {
        let path = self.shown.path(self.isolation).join(module);
        let compiled = self.worker.compile(path.to_string_lossy().into_owned());
        match tokio::time::timeout(COMPILE_LIMIT, compiled).await {
            Ok(Some(compiled)) => compiled.map_err(|reason| package.refused(reason)),
            Ok(None) => Err(package.refused(format!(
                "its module could not be compiled within {} MiB of memory",
                COMPILE_BYTES >> 20
            ))),
            Err(_) => Err(package.refused(format!(
                "its module could not be compiled within {} seconds",
                COMPILE_LIMIT.as_secs()
            ))),
        }
    }
}

/// Writes a file, `beside` at first, that is whole or not there, also after a crash: half an artifact
/// would be run.
fn write(file: &Path, beside: &Path, artifact: &[u8]) -> io::Result<()> {
    fs::write(beside, artifact)?;
    fs::set_permissions(beside, Permissions::from_mode(0o644))?;
    fs::File::open(beside)?.sync_all()?;
    fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_names_a_file_of_the_package_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let code = folder.path().join("code");
        fs::create_dir_all(code.join("bin")).unwrap();
        for file in ["a.wasm", "bin/b.wasm", "plain", "../outside.wasm"] {
            fs::write(code.join(file), "").unwrap();
        }
        let found = |handler: &str| module_in(&code, handler);
        assert_eq!(found("a"), Some("a.wasm".into()));
        assert_eq!(found("a.wasm"), Some("a.wasm".into()));
        assert_eq!(found("bin/b"), Some("bin/b.wasm".into()));
        assert_eq!(found("plain"), Some("plain".into()));
        let absolute = code.join("a.wasm");
        for elsewhere in [
            "",
            "b",
            "../outside",
            "bin/../../outside",
            absolute.to_str().unwrap(),
        ] {
            assert_eq!(found(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn what_another_engine_has_compiled_goes() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(folder.path().to_owned());
        let own = artifacts.folder("1").unwrap();
        for name in ["x.new.cwasm", "x.old.cwasm"] {
            write(&own.join(name), &folder.path().join("beside"), b"").unwrap();
        }
        artifacts.keep_only("1", "new");
        let left = fs::read_dir(own).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["x.new.cwasm"]);
    }
}
