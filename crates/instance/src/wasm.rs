//! WebAssembly functions: programs that read the event and print the result, or are handed the one and
//! return the other, on a fresh instance for each event.
//!
//! None of it runs in the server. One worker process for each account runs all of the account's, in a
//! sandbox like any function's; it is somebody else's code as soon as the engine in it has a bug. What
//! is compiled is compiled in a sandbox of its own, once, and kept in a folder that only the server
//! writes; workers see the part of it that is their account's.
//!
//! ```text
//!  Pool ─▶ WasmInstance ─▶ Worker ══ one connection, many invocations ══▶ worker process
//!             (a seat)       │                                              fresh instances
//!                            └─ Module: loaded while an instance of its revision is alive
//! ```
//!
//! A [`WasmInstance`] is what the pool counts and keeps: a right to run one invocation at a time, and a
//! log stream. The last one's end unloads the module, and the last one of an account ends its worker.
//!
//! Invariants: a worker never serves two accounts (I2); an invocation whose caller has gone is
//! cancelled, and a worker that does not keep deadlines is killed (I3); its network holds
//! nothing at all (I4). The worker measures an invocation, and what it says is believed up
//! to what the server has seen and the function may have.
//!
//! This module knows nothing of the engine: [`protocol`] is what both ends speak.

mod artifact;
mod body;
mod instance;
mod module;
pub mod protocol;
mod worker;

use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use clock::SharedClock;
use tokio::sync::Mutex;

use crate::journal::Journal;
use crate::platform_event::PlatformEvent;
use crate::{EGRESS, Instance, Isolation, LaunchError, Launcher, LogSink, Spec};

use artifact::{Artifacts, Package};
use instance::WasmInstance;
use worker::Worker;

/// What workers are, and where they find what they need.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// The program of a worker, which gets its memory in bytes as its last argument. Its standard input
    /// is its end of a Unix stream, over which [`protocol`] is spoken both ways.
    pub executable: PathBuf,
    /// Its arguments before those.
    pub arguments: Vec<PathBuf>,
    /// A folder that belongs to the launcher: compiled modules, a folder for each account.
    pub artifacts: PathBuf,
    /// A folder that belongs to the launcher: temporary folders of workers that have no sandbox.
    pub scratch: PathBuf,
    /// The memory of each account's worker, in bytes: for all of its functions that run at a time.
    pub memory: u64,
}

/// Has WebAssembly functions run by one worker for each account.
pub struct WasmLauncher {
    config: WasmConfig,
    isolation: Isolation,
    artifacts: Artifacts,
    clock: SharedClock,
    logs: Arc<dyn LogSink>,
    /// By account. Held while a worker starts, so that an account has one.
    workers: Mutex<HashMap<String, Weak<Worker>>>,
}

impl WasmLauncher {
    /// Prepares the folders; no worker is started before there is a function for it. What functions
    /// print goes to `logs`.
    ///
    /// # Errors
    /// When a folder cannot be emptied or written.
    pub fn new(
        config: WasmConfig,
        isolation: Isolation,
        clock: SharedClock,
        logs: Arc<dyn LogSink>,
    ) -> io::Result<Self> {
        match std::fs::remove_dir_all(&config.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => std::fs::create_dir_all(&config.scratch)?,
        }
        std::fs::create_dir_all(&config.artifacts)?;
        // Workers are other users of this machine.
        std::fs::set_permissions(&config.artifacts, Permissions::from_mode(0o755))?;
        let config = WasmConfig {
            artifacts: std::path::absolute(&config.artifacts)?,
            scratch: std::path::absolute(&config.scratch)?,
            ..config
        };
        Ok(Self {
            artifacts: Artifacts::new(config.artifacts.clone()),
            config,
            isolation,
            clock,
            logs,
            workers: Mutex::default(),
        })
    }

    /// Has the module of a package compiled before it is invoked: `handler` names it in the unpacked
    /// package `code`. What is compiled is kept, so that the first invocation finds it.
    ///
    /// # Errors
    /// [`LaunchError::Module`] says what is wrong with it.
    pub async fn compile(
        &self,
        account: &str,
        function: &str,
        code: &Path,
        handler: &str,
    ) -> Result<(), LaunchError> {
        let package = Package {
            account,
            function,
            code,
            handler,
        };
        self.artifacts.prepare(&package, self).await
    }

    /// The account's worker, started if there is none.
    async fn worker(&self, spec: &Spec) -> Result<Arc<Worker>, LaunchError> {
        let started = async {
            let mut workers = self.workers.lock().await;
            let alive = workers.get(&spec.account).and_then(Weak::upgrade);
            if let Some(worker) = alive.filter(|worker| !worker.has_ended()) {
                return Ok(worker);
            }
            let folder = self.artifacts.folder(&spec.account)?;
            let worker =
                Worker::start(&self.config, &self.isolation, &folder, self.config.memory).await?;
            self.artifacts.keep_only(&spec.account, worker.engine());
            let worker = Arc::new(worker);
            workers.insert(spec.account.clone(), Arc::downgrade(&worker));
            Ok(worker)
        };
        started
            .await
            .map_err(|source: io::Error| start(spec, source))
    }
}

#[async_trait]
impl Launcher for WasmLauncher {
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        check(spec)?;
        let mut journal = Journal::new(Arc::clone(&self.logs), Arc::clone(&self.clock), spec);
        let runtime = &spec.runtime.to_string();
        journal.platform(&PlatformEvent::InitStart { runtime });
        let worker = self.worker(spec).await?;
        let module = worker.module(spec);
        let init = module.ready(spec, &worker, self).await?;
        Ok(Box::new(WasmInstance::new(
            Arc::clone(spec),
            worker,
            module,
            journal,
            Arc::clone(&self.clock),
            init,
        )))
    }
}

/// Whether the function asks for nothing that a WebAssembly function cannot have.
fn check(spec: &Spec) -> Result<(), LaunchError> {
    let refused = |reason: String| LaunchError::Module {
        function: spec.function.clone(),
        reason,
    };
    if spec.opt.is_some() {
        let reason = "a WebAssembly function sees no files, layers neither";
        return Err(refused(reason.to_owned()));
    }
    match spec.environment.get(EGRESS) {
        Some(egress) if egress != "none" => Err(refused(format!(
            "{EGRESS} is {egress:?}, and a WebAssembly function has no network"
        ))),
        Some(_) | None => Ok(()),
    }
}

fn start(spec: &Spec, source: io::Error) -> LaunchError {
    LaunchError::Start {
        function: spec.function.clone(),
        source,
    }
}
