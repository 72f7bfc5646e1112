//! Deploys the three examples through the Lambda API.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use instance::EGRESS;
use serde_json::{Value, json};
use tokio::process::Command;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::sources::{EARTHQUAKES, ENRICHED, ORDERS, Sources, Topic};
use crate::client::Client;

/// Where files are dropped.
pub(crate) const INBOX: &str = "inbox";
/// Where their summaries appear.
pub(crate) const SUMMARIES: &str = "summaries";

/// What runs on this machine.
pub(crate) struct Deployment {
    functions: Vec<&'static str>,
}

impl Deployment {
    /// Makes buckets and topics, deploys every function that this machine can run, and connects it.
    ///
    /// # Errors
    /// The server refuses a request.
    pub(crate) async fn make(
        client: &Client,
        sources: &Sources,
        bootstrap: &str,
        order_total_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        for bucket in [INBOX, SUMMARIES] {
            client
                .demand("s3", Method::PUT, &format!("/{bucket}"), Bytes::new())
                .await?;
        }
        let mut functions = Vec::new();
        if runs("python3", "the function csv-summary is left out").await {
            csv_summary(client, sources).await?;
            functions.push("csv-summary");
        }
        if runs("node", "the function enrich is left out").await {
            enrich(client, sources, bootstrap).await?;
            functions.push("enrich");
        }
        let compiled = match order_total_file {
            Some(file) => Ok(file.to_owned()),
            None => compile(sources).await,
        };
        match compiled {
            Ok(file) => {
                order_total(client, &file, bootstrap).await?;
                functions.push("order-total");
            }
            Err(error) => say(&format!("the function order-total is left out: {error:#}")),
        }
        ensure!(!functions.is_empty(), "no function can run on this machine");
        Ok(Self { functions })
    }

    /// The functions' names as a sentence has them.
    pub(crate) fn describe(&self) -> String {
        self.functions.join(", ")
    }

    /// Whether a function was deployed.
    pub(crate) fn has(&self, function: &str) -> bool {
        self.functions.contains(&function)
    }
}

async fn csv_summary(client: &Client, sources: &Sources) -> anyhow::Result<()> {
    let code = package(&sources.function("csv-summary"))?;
    let environment = json!({"OUTPUT_BUCKET": SUMMARIES});
    create(
        client,
        "csv-summary",
        "python3.11",
        "app.handler",
        &code,
        environment,
    )
    .await?;
    let notification = "<NotificationConfiguration><CloudFunctionConfiguration><Id>csv</Id>\
        <CloudFunction>arn:aws:lambda:us-east-1:000000000000:function:csv-summary</CloudFunction>\
        <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>suffix</Name>\
        <Value>.csv</Value></FilterRule></S3Key></Filter></CloudFunctionConfiguration>\
        </NotificationConfiguration>";
    client
        .demand(
            "s3",
            Method::PUT,
            &format!("/{INBOX}?notification="),
            Bytes::from_static(notification.as_bytes()),
        )
        .await?;
    Ok(())
}

async fn enrich(client: &Client, sources: &Sources, bootstrap: &str) -> anyhow::Result<()> {
    let code = package(&sources.function("enrich"))?;
    let environment = json!({
        "KAFKA_BOOTSTRAP": bootstrap,
        "OUTPUT_TOPIC": ENRICHED,
        // It publishes its results.
        EGRESS: "kafka",
    });
    create(
        client,
        "enrich",
        "nodejs20.x",
        "index.handler",
        &code,
        environment,
    )
    .await?;
    map_topic(client, "enrich", EARTHQUAKES, bootstrap).await
}

async fn order_total(client: &Client, file: &Path, bootstrap: &str) -> anyhow::Result<()> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    add(&mut archive, "bootstrap", &content)?;
    let code = archive.finish()?.into_inner();
    create(
        client,
        "order-total",
        "provided.al2023",
        "bootstrap",
        &code,
        json!({}),
    )
    .await?;
    map_topic(client, "order-total", ORDERS, bootstrap).await
}

async fn create(
    client: &Client,
    name: &str,
    runtime: &str,
    handler: &str,
    code: &[u8],
    environment: Value,
) -> anyhow::Result<()> {
    let body = json!({
        "FunctionName": name,
        "Runtime": runtime,
        "Handler": handler,
        "Role": "arn:aws:iam::000000000000:role/demo",
        "Timeout": 30,
        // Processor time comes in proportion, here as at AWS: this is half a processor.
        "MemorySize": 885,
        "Environment": {"Variables": environment},
        "Code": {"ZipFile": BASE64.encode(code)},
    });
    client
        .demand(
            "lambda",
            Method::POST,
            "/2015-03-31/functions",
            body.to_string().into(),
        )
        .await
        .with_context(|| format!("deploy {name}"))?;
    Ok(())
}

async fn map_topic(
    client: &Client,
    function: &str,
    topic: Topic,
    bootstrap: &str,
) -> anyhow::Result<()> {
    let body = json!({
        "FunctionName": function,
        "Topics": [topic.name],
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 50,
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [bootstrap]}},
    });
    client
        .demand(
            "lambda",
            Method::POST,
            "/2015-03-31/event-source-mappings",
            body.to_string().into(),
        )
        .await
        .with_context(|| format!("map {} to {function}", topic.name))?;
    Ok(())
}

/// The files of a function's folder as an archive; its README stays behind.
fn package(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| path.is_file() && !name.ends_with(".md")) {
            add(&mut archive, name, &fs::read(&path)?)?;
        }
    }
    Ok(archive.finish()?.into_inner())
}

fn add(archive: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, content: &[u8]) -> anyhow::Result<()> {
    archive.start_file(name, SimpleFileOptions::default().unix_permissions(0o755))?;
    archive.write_all(content)?;
    Ok(())
}

/// Compiles the Rust example. The first time that takes a minute.
async fn compile(sources: &Sources) -> anyhow::Result<PathBuf> {
    let spinner = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?)
        .with_message("Compiling the Rust function order-total");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let output = Command::new("cargo")
        .args(["build", "--release", "--package", "order-total"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(sources.root())
        .stdin(Stdio::null())
        .output()
        .await
        .context("run cargo")?;
    spinner.finish_and_clear();
    ensure!(
        output.status.success(),
        "cargo could not compile it:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "bootstrap")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| anyhow!("cargo names no executable"))
}

/// Whether this machine has a program; says so when not.
async fn runs(program: &str, otherwise: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await
        .is_ok_and(|output| output.status.success());
    if !found {
        say(&format!("{program} is not installed: {otherwise}"));
    }
    found
}

#[expect(clippy::print_stdout, reason = "the command's own output")]
fn say(text: &str) {
    println!("{text}");
}
