//! How our runtime for C# comes to be: it is compiled where it runs, once, before its first function.
//!
//! So nothing binary is shipped, and what is compiled fits the libraries that this Mono has. Instances
//! see the program among the other runtimes, and neither the compiler nor its libraries need to
//! be theirs.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::{LaunchError, Runtime};

/// The program, among our runtimes.
pub(super) const PROGRAM: &str = "bootstrap.exe";

/// Mono's compiler, which Debian has in a package of its own.
const COMPILER: &str = "mcs";

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

const SOURCES: [(&str, &str); 9] = [
    (
        "Program.cs",
        include_str!("../bootstraps/csharp/Program.cs"),
    ),
    (
        "Handler.cs",
        include_str!("../bootstraps/csharp/Handler.cs"),
    ),
    (
        "Supplied.cs",
        include_str!("../bootstraps/csharp/Supplied.cs"),
    ),
    ("Fault.cs", include_str!("../bootstraps/csharp/Fault.cs")),
    ("Log.cs", include_str!("../bootstraps/csharp/Log.cs")),
    (
        "RuntimeApi.cs",
        include_str!("../bootstraps/csharp/RuntimeApi.cs"),
    ),
    (
        "Serializer.cs",
        include_str!("../bootstraps/csharp/Serializer.cs"),
    ),
    ("Json.cs", include_str!("../bootstraps/csharp/Json.cs")),
    (
        "JsonReader.cs",
        include_str!("../bootstraps/csharp/JsonReader.cs"),
    ),
];

/// The arguments that have it tell of the Mono that runs it, instead of a function.
pub(super) fn ask(runtimes: &Path) -> [String; 2] {
    let program = runtimes.join(PROGRAM).to_string_lossy().into_owned();
    [program, "tell".to_owned()]
}

/// Compiles the program into the folder `runtimes`.
///
/// # Errors
/// [`LaunchError::RuntimeMissing`] without a compiler, and [`LaunchError::Compile`] if it fails.
pub(super) async fn compile(
    runtime: Runtime,
    search_path: &str,
    runtimes: &Path,
) -> Result<(), LaunchError> {
    let folders = std::env::split_paths(search_path);
    let found = folders.map(|folder| folder.join(COMPILER));
    let Some(compiler) = found.into_iter().find(|path| path.is_file()) else {
        return Err(LaunchError::RuntimeMissing {
            runtime,
            executable: COMPILER.to_owned(),
        });
    };
    run(&compiler, runtimes).await.map_err(|source| {
        tracing::warn!(%runtime, %source, compiler = %compiler.display(), "our part of a runtime was not compiled");
        LaunchError::Compile { runtime, source }
    })
}

async fn run(compiler: &Path, runtimes: &Path) -> io::Result<()> {
    let folder = runtimes.join("csharp");
    tokio::fs::create_dir_all(&folder).await?;
    let mut sources: Vec<PathBuf> = Vec::new();
    for (name, text) in SOURCES {
        let path = folder.join(name);
        tokio::fs::write(&path, text).await?;
        sources.push(path);
    }
    let program = runtimes.join(PROGRAM);
    let mut out = OsString::from("-out:");
    out.push(&program);
    let compiling = Command::new(compiler)
        .args([
            "-nologo",
            "-optimize+",
            "-r:System.dll",
            "-r:System.Core.dll",
        ])
        .arg(out)
        .args(sources)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = tokio::time::timeout(PATIENCE, compiling).await??;
    if status.success() {
        // Instances are other users of this machine.
        return tokio::fs::set_permissions(program, Permissions::from_mode(0o644)).await;
    }
    let said = [stdout, stderr].concat();
    Err(io::Error::other(
        String::from_utf8_lossy(&said).into_owned(),
    ))
}
