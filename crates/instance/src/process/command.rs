//! What is executed for a function.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tokio::io::AsyncReadExt;

use super::interpreter::Interpreter;
use super::place::Place;
use super::{ProcessLauncher, java, mono};
use crate::{Image, LaunchError, Runtime, Spec};

/// The variable that names a script which starts the runtime in the runtime's place.
pub(super) const EXEC_WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// What to execute.
pub(super) struct Command {
    pub(super) executable: PathBuf,
    pub(super) arguments: Vec<PathBuf>,
    /// Folders and files of the interpreter that are not the system's.
    pub(super) roots: Vec<PathBuf>,
}

impl ProcessLauncher {
    /// What to execute for `spec` in `place`, and with which arguments.
    pub(super) async fn command(&self, spec: &Spec, place: &Place) -> Result<Command, LaunchError> {
        if let Some(image) = &spec.image {
            return Command::of(image).ok_or_else(|| LaunchError::EntryPoint {
                function: spec.function.clone(),
                path: PathBuf::from("ENTRYPOINT"),
            });
        }
        let arguments = match spec.runtime {
            Runtime::Python { .. }
            | Runtime::Node { .. }
            | Runtime::Ruby { .. }
            | Runtime::Dotnet { .. } => script(spec.runtime)
                .map(|script| place.runtimes.join(script))
                .into_iter()
                .collect(),
            Runtime::Java { .. } => java::arguments(spec, &place.code),
            // No interpreter of this machine's runs it.
            Runtime::Wasm => Vec::new(),
            Runtime::Provided | Runtime::ProvidedAl2 | Runtime::ProvidedAl2023 => {
                let path = spec.code.join("bootstrap");
                return if is_program(&path).await {
                    Ok(Command {
                        executable: place.code.join("bootstrap"),
                        arguments: Vec::new(),
                        roots: Vec::new(),
                    })
                } else {
                    let function = spec.function.clone();
                    Err(LaunchError::EntryPoint { function, path })
                };
            }
        };
        let Interpreter { path, roots } = self.interpreters.find(spec.runtime).await?;
        let interpreted = Command {
            executable: path,
            arguments,
            roots,
        };
        Ok(interpreted.wrapped(spec))
    }
}

impl Command {
    /// What an image says, which may be nothing.
    fn of(image: &Image) -> Option<Self> {
        let (executable, arguments) = image.command.split_first()?;
        Some(Self {
            executable: PathBuf::from(executable),
            arguments: arguments.iter().map(PathBuf::from).collect(),
            roots: Vec::new(),
        })
    }

    /// Started by the function's wrapper script, if it names one. AWS's runtimes do that themselves,
    /// so that `provided` ones do not.
    fn wrapped(self, spec: &Spec) -> Self {
        match spec
            .environment
            .get(EXEC_WRAPPER)
            .filter(|path| !path.is_empty())
        {
            None => self,
            Some(wrapper) => Self {
                executable: PathBuf::from(wrapper),
                arguments: std::iter::once(self.executable)
                    .chain(self.arguments)
                    .collect(),
                roots: self.roots,
            },
        }
    }
}

/// The file of ours that an interpreter starts with.
pub(super) fn script(runtime: Runtime) -> Option<&'static str> {
    match runtime {
        Runtime::Python { .. } => Some("start.py"),
        Runtime::Node { .. } => Some("bootstrap.mjs"),
        Runtime::Ruby { .. } => Some("bootstrap.rb"),
        Runtime::Dotnet { .. } => Some(mono::PROGRAM),
        Runtime::Java { .. }
        | Runtime::Provided
        | Runtime::ProvidedAl2
        | Runtime::ProvidedAl2023
        | Runtime::Wasm => None,
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

/// Whether a package's own program failed to start because of itself: its interpreter is missing, or it
/// is no program.
pub(super) fn is_unusable(error: &io::Error) -> bool {
    let missing = matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
    );
    missing || Errno::from_io_error(error) == Some(Errno::NOEXEC)
}
