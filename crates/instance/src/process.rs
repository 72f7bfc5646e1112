//! Instances as plain processes of this machine.
//!
//! Each is the root of a process tree, has the package's folder as its working directory and a
//! temporary folder of its own, and reaches the platform through its Runtime API. Nothing keeps it
//! from the rest of the machine: the launcher that isolates will stand beside this one.

mod environment;
mod instance;
mod interpreter;
mod journal;
mod output;
mod scratch;

#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use clock::SharedClock;
use sandbox::{Program, Spawner};
use tokio::io::AsyncReadExt;

use crate::runtime_api::RuntimeApi;
use crate::{Instance, LaunchError, Launcher, LogSink, Runtime, Spec};

use environment::Surroundings;
use instance::ProcessInstance;
use interpreter::Interpreters;
use journal::Journal;
use output::Output;
use scratch::Scratch;

/// The runtimes of this crate, written out for the interpreters to read.
const BOOTSTRAPS: [(&str, &str); 3] = [
    ("start.py", include_str!("bootstraps/start.py")),
    (
        "lambda_bootstrap.py",
        include_str!("bootstraps/lambda_bootstrap.py"),
    ),
    ("bootstrap.mjs", include_str!("bootstraps/bootstrap.mjs")),
];

/// Where processes find what they need.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// A folder that belongs to the launcher: temporary folders of instances, one for each.
    /// Whatever it holds at the start is removed.
    pub instances: PathBuf,
    /// A folder that belongs to the launcher: the runtimes for Python and Node.js.
    pub runtimes: PathBuf,
    /// Where programs are looked for, in the form of `PATH`. Instances get it as theirs.
    pub search_path: String,
}

/// Starts a process for each instance.
pub struct ProcessLauncher {
    config: ProcessConfig,
    spawner: Spawner,
    clock: SharedClock,
    logs: Arc<dyn LogSink>,
    interpreters: Interpreters,
}

impl ProcessLauncher {
    /// Prepares the two folders. What functions print goes to `logs`.
    ///
    /// # Errors
    /// When a folder cannot be emptied or written.
    pub fn new(
        config: ProcessConfig,
        spawner: Spawner,
        clock: SharedClock,
        logs: Arc<dyn LogSink>,
    ) -> io::Result<Self> {
        match std::fs::remove_dir_all(&config.instances) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => std::fs::create_dir_all(&config.instances)?,
        }
        std::fs::create_dir_all(&config.runtimes)?;
        for (name, text) in BOOTSTRAPS {
            std::fs::write(config.runtimes.join(name), text)?;
        }
        let interpreters = Interpreters::new(config.search_path.clone());
        Ok(Self {
            // Instances run elsewhere, so relative paths would mean something else to them.
            config: ProcessConfig {
                instances: std::path::absolute(&config.instances)?,
                runtimes: std::path::absolute(&config.runtimes)?,
                ..config
            },
            spawner,
            clock,
            logs,
            interpreters,
        })
    }

    /// What to execute for `spec`, and with which arguments.
    async fn command(&self, spec: &Spec) -> Result<(PathBuf, Vec<PathBuf>), LaunchError> {
        let script = |name: &str| self.config.runtimes.join(name);
        match spec.runtime {
            Runtime::Python { .. } => {
                let python = self.interpreters.find(spec.runtime).await?;
                Ok((python, vec![script("start.py")]))
            }
            Runtime::Node { .. } => {
                let node = self.interpreters.find(spec.runtime).await?;
                Ok((node, vec![script("bootstrap.mjs")]))
            }
            Runtime::Provided | Runtime::ProvidedAl2 | Runtime::ProvidedAl2023 => {
                let path = spec.code.join("bootstrap");
                if is_program(&path).await {
                    Ok((path, Vec::new()))
                } else {
                    let function = spec.function.clone();
                    Err(LaunchError::EntryPoint { function, path })
                }
            }
        }
    }

    async fn start(
        &self,
        spec: &Arc<Spec>,
        executable: PathBuf,
        arguments: Vec<PathBuf>,
    ) -> io::Result<ProcessInstance> {
        let scratch = Scratch::create(&self.config.instances)?;
        let api = RuntimeApi::listen(Arc::clone(&self.clock)).await?;
        let mut journal = Journal::new(Arc::clone(&self.logs), Arc::clone(&self.clock), spec);
        let surroundings = Surroundings {
            runtime_api: api.address(),
            runtimes: &self.config.runtimes,
            search_path: &self.config.search_path,
            temporary: scratch.path(),
            log_stream: journal.stream(),
        };
        let program = Program {
            executable,
            arguments,
            environment: environment::of(spec, &surroundings),
            directory: spec.code.clone(),
            memory: u64::from(spec.memory_mib) << 20,
        };
        journal.platform(&format!("INIT_START Runtime Version: {}", spec.runtime));
        let started = self.clock.monotonic();
        let tree = self
            .spawner
            .spawn(program)
            .await
            .map_err(|error| match error {
                sandbox::Error::Start { source, .. } | sandbox::Error::Prepare(source) => source,
            })?;
        let output = Output::new(tree.output()?)?;
        Ok(ProcessInstance {
            spec: Arc::clone(spec),
            clock: Arc::clone(&self.clock),
            tree,
            api,
            output,
            journal,
            scratch,
            started,
            initialised: false,
            max_memory_mib: 0,
        })
    }
}

#[async_trait]
impl Launcher for ProcessLauncher {
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        let (executable, arguments) = self.command(spec).await?;
        let path = executable.clone();
        match self.start(spec, executable, arguments).await {
            Ok(instance) => Ok(Box::new(instance)),
            Err(source) => {
                let function = spec.function.clone();
                // The package's own script may name an interpreter that is not there: trying again
                // would not help.
                Err(if is_unusable(&source) && path.starts_with(&spec.code) {
                    LaunchError::EntryPoint { function, path }
                } else {
                    LaunchError::Start { function, source }
                })
            }
        }
    }
}

/// Whether the kernel will execute `path`: a script that names its interpreter, or a program for
/// this kind of machine. Asking the kernel will not do, because the C library has a shell try what
/// the kernel refuses.
async fn is_program(path: &Path) -> bool {
    let metadata = tokio::fs::metadata(path).await;
    let executable =
        metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let (theirs, ours) = (head(path).await, head(Path::new("/proc/self/exe")).await);
    executable && (theirs.starts_with(b"#!") || machine(&theirs) == machine(&ours))
}

/// The first bytes of a file; empty if it cannot be read.
async fn head(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = tokio::fs::File::open(path).await {
        // What could be read is enough; a short file is no program.
        let _ = file.take(20).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The machine that an ELF file is for: its magic, class and byte order, and `e_machine`.
fn machine(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let identity = head.get(..6)?;
    identity
        .starts_with(b"\x7fELF")
        .then_some((identity, head.get(18..20)?))
}

/// Whether a package's own program failed to start because of itself: its interpreter is missing.
fn is_unusable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    )
}
