//! Finding the interpreter for a runtime on this machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::mono;
use crate::{LaunchError, Runtime};

/// How long a program may take to say which version it is.
const PROBE: Duration = Duration::from_secs(20);

/// Folders that every sandbox shows.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];

/// Prints the interpreter's path, its version, and the folders it lives in, and compiles our runtime,
/// whose folder instances cannot write.
const ASK_PYTHON: &str = "import sys; print(sys.executable); print('%d.%d.' % sys.version_info[:2]); \
print(sys.prefix); print(sys.base_prefix); \
import compileall; compileall.compile_dir(sys.argv[1], quiet=2)";

/// Prints the same of a Ruby, which compiles nothing.
const ASK_RUBY: &str = "puts RbConfig.ruby, RUBY_VERSION, RbConfig::CONFIG['prefix']";

/// Below the folders that an interpreter lives in: what it needs.
const PARTS: [&str; 7] = ["4.5", "bin", "conf", "config", "lib", "lib64", "pyvenv.cfg"];

/// Remembers the interpreters it has found.
pub(super) struct Interpreters {
    search_path: String,
    /// Where our runtimes are.
    runtimes: PathBuf,
    found: Mutex<HashMap<Runtime, Arc<OnceCell<Interpreter>>>>,
    /// Whether our runtime for C# has been compiled.
    compiled: OnceCell<()>,
}

/// An interpreter of this machine.
#[derive(Clone)]
pub(super) struct Interpreter {
    pub(super) path: PathBuf,
    /// Files and folders that it needs and that are not the system's.
    pub(super) roots: Vec<PathBuf>,
}

/// What to look for.
struct Wanted {
    /// By falling preference.
    names: Vec<String>,
    /// Arguments that have it tell of itself, in a way that `read` understands.
    probe: [String; 2],
    /// Its own path, its version, and the folders it lives in.
    read: fn(&str) -> Vec<String>,
    /// The beginning of the version that was asked for.
    version: String,
}

impl Interpreters {
    pub(super) fn new(search_path: String, runtimes: PathBuf) -> Self {
        Self {
            search_path,
            runtimes,
            found: Mutex::default(),
            compiled: OnceCell::new(),
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
    pub(super) async fn find(&self, runtime: Runtime) -> Result<Interpreter, LaunchError> {
        let cell = Arc::clone(self.found.lock().entry(runtime).or_default());
        let found = cell.get_or_try_init(|| self.search(runtime)).await?;
        Ok(found.clone())
    }

    async fn search(&self, runtime: Runtime) -> Result<Interpreter, LaunchError> {
        if let Runtime::Dotnet { .. } = runtime {
            let compile = || mono::compile(runtime, &self.search_path, &self.runtimes);
            self.compiled.get_or_try_init(compile).await?;
        }
        let wanted = Wanted::by(runtime, &self.runtimes);
        for name in &wanted.names {
            for folder in std::env::split_paths(&self.search_path) {
                let candidate = folder.join(name);
                if !candidate.is_file() {
                    continue;
                }
                if let Some(told) = probe(&candidate, &wanted, &self.runtimes).await
                    && let [path, version, prefixes @ ..] = told.as_slice()
                {
                    let path = PathBuf::from(path);
                    if !version.starts_with(&wanted.version) {
                        tracing::warn!(
                            %runtime, %version, program = %path.display(),
                            "another version of the runtime runs the functions that ask for it"
                        );
                    }
                    let roots = roots(&path, prefixes);
                    return Ok(Interpreter { path, roots });
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
    fn by(runtime: Runtime, runtimes: &Path) -> Self {
        match runtime {
            Runtime::Python { minor } => Self {
                names: vec![format!("python3.{minor}"), "python3".to_owned()],
                probe: ["-c", ASK_PYTHON].map(str::to_owned),
                read: lines,
                version: format!("3.{minor}."),
            },
            Runtime::Node { major } => Self {
                names: vec!["nodejs".to_owned(), "node".to_owned()],
                probe: ["-p", "process.execPath + '\\n' + process.versions.node"]
                    .map(str::to_owned),
                read: lines,
                version: format!("{major}."),
            },
            Runtime::Java { major } => Self {
                names: vec!["java".to_owned()],
                probe: ["-XshowSettings:properties", "-version"].map(str::to_owned),
                read: properties,
                version: format!("{major}."),
            },
            Runtime::Ruby { major, minor } => Self {
                names: vec![format!("ruby{major}.{minor}"), "ruby".to_owned()],
                probe: ["-e", ASK_RUBY].map(str::to_owned),
                read: lines,
                version: format!("{major}.{minor}."),
            },
            Runtime::Dotnet { major } => Self {
                names: vec!["mono".to_owned()],
                probe: mono::ask(runtimes),
                read: lines,
                version: format!("{major}."),
            },
            Runtime::Provided | Runtime::ProvidedAl2 | Runtime::ProvidedAl2023 | Runtime::Wasm => {
                Self {
                    names: Vec::new(),
                    probe: [String::new(), String::new()],
                    read: lines,
                    version: String::new(),
                }
            }
        }
    }
}

/// What `program` says of itself; `None` if it does not run.
async fn probe(program: &Path, wanted: &Wanted, runtimes: &Path) -> Option<Vec<String>> {
    let asked = Command::new(program)
        .args(&wanted.probe)
        .arg(runtimes)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PROBE, asked).await.ok()?.ok()?;
    if !output.status.success() {
        return None;
    }
    let mut text = String::from_utf8(output.stdout).ok()?;
    // Java tells on standard error.
    if text.is_empty() {
        text = String::from_utf8(output.stderr).ok()?;
    }
    Some((wanted.read)(&text))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// Java's system properties: where it lives, and which it is.
fn properties(text: &str) -> Vec<String> {
    let value = |name: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .find(|(found, _)| found.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    let (Some(home), Some(version)) = (value("java.home"), value("java.version")) else {
        return Vec::new();
    };
    vec![format!("{home}/bin/java"), format!("{version}."), home]
}

/// What a sandbox has to show beside the system's folders for `path` to run.
fn roots(path: &Path, prefixes: &[String]) -> Vec<PathBuf> {
    let is_system = |path: &Path| SYSTEM.iter().any(|folder| path.starts_with(folder));
    let mut roots: Vec<PathBuf> = Vec::new();
    for prefix in prefixes.iter().map(Path::new) {
        let parts = PARTS.map(|part| prefix.join(part));
        roots.extend(parts.into_iter().filter(|part| part.exists()));
    }
    roots.push(path.to_owned());
    roots.retain(|root| !is_system(root));
    roots.sort();
    // What lies below another is shown with it.
    roots.dedup_by(|later, earlier| later.starts_with(&*earlier));
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_is_known_by_its_properties() {
        let told = "Property settings:\n    java.home = /usr/lib/jvm/java-17\n    java.io.tmpdir = /tmp\n    \
                    java.version = 17.0.15\n    java.version.date = 2025-04-15\n";
        assert_eq!(
            properties(told),
            [
                "/usr/lib/jvm/java-17/bin/java",
                "17.0.15.",
                "/usr/lib/jvm/java-17"
            ]
        );
        assert!(properties("no java at all").is_empty());
    }
}
