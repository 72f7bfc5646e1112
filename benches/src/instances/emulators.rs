//! Emulators of Lambda by others, each with the same function behind it.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use tests::{eventually, free_port};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// One that answers. It ends when this is dropped, and its function with it.
pub(super) struct Emulator {
    /// Where callers go.
    pub(super) port: u16,
    _processes: Vec<Child>,
}

/// AWS's runtime interface emulator, which starts the function itself.
///
/// # Errors
/// It does not answer.
pub(super) async fn rie(program: &Path, bootstrap: &Path) -> Result<Emulator> {
    let (port, runtime_api) = (free_port()?, free_port()?);
    let mut command = quiet(program);
    command
        .args([
            "--runtime-interface-emulator-address",
            &format!("127.0.0.1:{port}"),
        ])
        .args(["--runtime-api-address", &format!("127.0.0.1:{runtime_api}")])
        .args(["--log-level", "error"])
        .arg(bootstrap);
    let emulator = command.spawn().context("start aws-lambda-rie")?;
    until_open(port).await?;
    Ok(Emulator {
        port,
        _processes: vec![emulator],
    })
}

/// `cargo lambda watch`, which hands events to however many runtimes ask for them: `instances` do.
///
/// # Errors
/// It does not answer.
pub(super) async fn cargo_lambda(
    program: &Path,
    bootstrap: &Path,
    name: &str,
    instances: usize,
    folder: &Path,
) -> Result<Emulator> {
    // It looks for a package before it does as it is told.
    fs::create_dir(folder.join("src"))?;
    fs::write(folder.join("src/main.rs"), "fn main() {}\n")?;
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n");
    fs::write(folder.join("Cargo.toml"), manifest)?;
    let port = free_port()?;
    let mut command = quiet(program);
    command
        .args(["lambda", "watch", "--only-lambda-apis"])
        .args(["--invoke-address", "127.0.0.1"])
        .args(["--invoke-port", &port.to_string()])
        .current_dir(folder);
    let mut processes = vec![command.spawn().context("start cargo lambda")?];
    until_open(port).await?;
    for _ in 0..instances {
        let mut function = quiet(bootstrap);
        function.env(
            "AWS_LAMBDA_RUNTIME_API",
            format!("127.0.0.1:{port}/.rt/{name}"),
        );
        processes.push(function.spawn().context("start the function")?);
    }
    Ok(Emulator {
        port,
        _processes: processes,
    })
}

/// A command that says nothing and ends with whoever holds it.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn until_open(port: u16) -> Result<()> {
    eventually("a port is open", async || {
        Ok(TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop))
    })
    .await
}
