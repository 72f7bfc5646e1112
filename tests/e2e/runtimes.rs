//! AWS's own runtime interface clients, packaged as their users package them, and our own runtimes:
//! the same handlers on each, deployed and invoked through the API, in sandboxes where the machine
//! allows them. `handlers/matrix.py` is the table.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::{Server, program, repository, skip};

#[test]
fn awslambdaric_runs_unmodified() -> Result<()> {
    matrix("awslambdaric", brought("TIDEMILL_TEST_RIC_PYTHON"))
}

#[test]
fn our_python_does_as_awss() -> Result<()> {
    matrix("python", Some(handlers().join("python")))
}

#[test]
fn aws_lambda_ric_runs_unmodified() -> Result<()> {
    matrix("aws-lambda-ric", brought("TIDEMILL_TEST_RIC_NODE"))
}

#[test]
fn our_nodejs_does_as_awss() -> Result<()> {
    matrix("nodejs", Some(handlers().join("node")))
}

#[test]
fn javas_client_runs_unmodified() -> Result<()> {
    matrix("java-ric", brought("TIDEMILL_TEST_RIC_JAVA"))
}

#[test]
fn managed_java_runs_the_client_of_the_package() -> Result<()> {
    matrix("java", brought("TIDEMILL_TEST_RIC_JAVA"))
}

#[test]
fn our_ruby_does_as_awss() -> Result<()> {
    matrix(
        "ruby",
        brought("TIDEMILL_TEST_RUBY").map(|_| handlers().join("ruby")),
    )
}

#[test]
fn our_csharp_does_as_awss() -> Result<()> {
    matrix("csharp", brought("TIDEMILL_TEST_CSHARP"))
}

#[test]
fn aws_lambda_go_runs_unmodified() -> Result<()> {
    matrix("aws-lambda-go", brought("TIDEMILL_TEST_RIC_GO"))
}

#[test]
fn lambda_runtime_runs_unmodified() -> Result<()> {
    let built = env!("CARGO_BIN_EXE_handlers");
    matrix("lambda_runtime", Some(built.into()))
}

/// What `cargo xtask` has brought to this machine under that name.
fn brought(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

fn handlers() -> PathBuf {
    repository().join("tests/e2e/handlers")
}

/// Takes one client through the table on a server of its own.
fn matrix(client: &str, package: Option<PathBuf>) -> Result<()> {
    let Some(package) = package else {
        skip(client, "the client was not brought to this machine");
        return Ok(());
    };
    let Some(python) = program("TIDEMILL_TEST_PYTHON", "python3").filter(has_boto3) else {
        skip(client, "the Python package boto3 is not installed");
        return Ok(());
    };
    let server = Server::start()?;
    let (id, secret) = server.credentials()?;
    // A client that hangs is a failure with a name, not a suite without an end.
    let mut arguments: Vec<OsString> = vec!["600".into(), python.into()];
    arguments.push(handlers().join("matrix.py").into());
    arguments.extend([client.into(), package.into()]);
    if let Ok(only) = std::env::var("TIDEMILL_TEST_HANDLERS") {
        arguments.extend(only.split_whitespace().map(OsString::from));
    }
    let output = Command::new("timeout")
        .args(arguments)
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE")
        .output()
        .context("run the table")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{client}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn has_boto3(python: &PathBuf) -> bool {
    let imported = Command::new(python).args(["-c", "import boto3"]).output();
    imported.is_ok_and(|output| output.status.success())
}
