//! Finding the interpreter for a runtime on this machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::{LaunchError, Runtime};

/// How long a program may take to say which version it is.
const PROBE: Duration = Duration::from_secs(20);

/// Remembers the interpreters it has found.
pub(super) struct Interpreters {
    search_path: String,
    found: Mutex<HashMap<Runtime, Arc<OnceCell<PathBuf>>>>,
}

/// What to look for.
struct Wanted {
    /// By falling preference.
    names: Vec<String>,
    /// Arguments that have it print its own path and its version on two lines.
    probe: [&'static str; 2],
    /// The beginning of the version that was asked for.
    version: String,
}

impl Interpreters {
    pub(super) fn new(search_path: String) -> Self {
        Self {
            search_path,
            found: Mutex::default(),
        }
    }

    /// The file to execute for `runtime`: of the version asked for if the machine has it, else of
    /// the one it has, with a warning.
    ///
    /// A program is asked for its own path, because what is found may be a wrapper that chooses
    /// among versions, slowly, or that has none to choose.
    ///
    /// # Errors
    /// [`LaunchError::RuntimeMissing`]; the next call looks again.
    pub(super) async fn find(&self, runtime: Runtime) -> Result<PathBuf, LaunchError> {
        let cell = Arc::clone(self.found.lock().entry(runtime).or_default());
        let found = cell.get_or_try_init(|| self.search(runtime)).await?;
        Ok(found.clone())
    }

    async fn search(&self, runtime: Runtime) -> Result<PathBuf, LaunchError> {
        let wanted = Wanted::by(runtime);
        for name in &wanted.names {
            for folder in std::env::split_paths(&self.search_path) {
                let candidate = folder.join(name);
                if !candidate.is_file() {
                    continue;
                }
                if let Some((path, version)) = probe(&candidate, wanted.probe).await {
                    if !version.starts_with(&wanted.version) {
                        tracing::warn!(
                            %runtime, %version, program = %path.display(),
                            "another version of the runtime runs the functions that ask for it"
                        );
                    }
                    return Ok(path);
                }
            }
        }
        Err(LaunchError::RuntimeMissing {
            runtime,
            executable: wanted.names.last().cloned().unwrap_or_default(),
        })
    }
}

impl Wanted {
    fn by(runtime: Runtime) -> Self {
        match runtime {
            Runtime::Python { minor } => Self {
                names: vec![format!("python3.{minor}"), "python3".to_owned()],
                probe: [
                    "-c",
                    "import sys; print(sys.executable); print('%d.%d.' % sys.version_info[:2])",
                ],
                version: format!("3.{minor}."),
            },
            Runtime::Node { major } => Self {
                names: vec!["nodejs".to_owned(), "node".to_owned()],
                probe: ["-p", "process.execPath + '\\n' + process.versions.node"],
                version: format!("{major}."),
            },
            Runtime::Provided | Runtime::ProvidedAl2 | Runtime::ProvidedAl2023 => Self {
                names: Vec::new(),
                probe: ["", ""],
                version: String::new(),
            },
        }
    }
}

/// The path and the version that `program` says it has; `None` if it does not run.
async fn probe(program: &Path, arguments: [&str; 2]) -> Option<(PathBuf, String)> {
    let asked = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PROBE, asked).await.ok()?.ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let (path, version) = text.trim().split_once('\n')?;
    Some((PathBuf::from(path.trim()), version.trim().to_owned()))
}
