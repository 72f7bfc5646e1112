//! Foreign sources: added by command, read exactly once whatever crashes, told of, and removed.

mod clouds;
mod dynamodb;
mod folder;
mod folder_files;
mod kafka;
mod kafka_recreated;
mod kafka_secured;
mod kafka_tls;
mod listening;
mod mysql;
mod notifications;
mod postgres;
mod queue_notifications;
mod refusals;
mod s3;
mod s3_keys;
mod sqlite;
mod topic_notifications;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Cli, Server, eventually, zip_file};

/// What the server is told of credentials, which nobody else may be.
const SECRET: &str = "hush-9b2e";

/// What the server says of one connector.
fn status(server: &Server, name: &str) -> Result<Value> {
    let text = server.tidemill(&["connector", "status", name, "--json"])?;
    let reports: Vec<Value> = serde_json::from_str(&text)?;
    reports.into_iter().next().context("a report")
}

/// Waits until a connector is in a state, and returns what the server says of it.
async fn until(server: &Server, name: &str, state: &str) -> Result<Value> {
    let what = format!("{name} is {state}");
    let found = eventually(&what, async || {
        let report = status(server, name)?;
        Ok((report["state"] == state).then_some(report))
    });
    found
        .await
        .with_context(|| format!("{:?}", status(server, name)))
}

/// Deploys a function of Python's.
fn deploy(aws: &Cli<'_>, name: &str, code: &str) -> Result<()> {
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "f.zip", &[("app.py", code.as_bytes())])?;
    aws.create_function(
        name,
        ("python3.11", "app.handler"),
        &zip,
        &["--timeout", "30"],
    )?;
    Ok(())
}

/// No credential is in anything that the server says.
fn expect_no_secret(server: &Server, secret: &str) -> Result<()> {
    for said in [
        server.tidemill(&["connector", "list"])?,
        server.tidemill(&["connector", "list", "--json"])?,
        server.tidemill(&["connector", "status"])?,
        server.tidemill(&["connector", "status", "--json"])?,
        server.log(),
    ] {
        ensure!(!said.contains(secret), "a secret is told: {said}");
    }
    Ok(())
}
