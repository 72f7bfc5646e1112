//! Unmodified S3 clients go through one story, and its every change is an event, once.
//!
//! The story: make a bucket that tells a function of everything; put small objects, empty ones, some
//! with awkward names, one of unknown length and one in parts; read them whole and in part; be refused
//! by conditions; list by pages and folders; copy; tag; hand out links; delete one by one and many at
//! once; hear of what is not there by the client's own error. Clients are set up as their users set them
//! up for a server that is not AWS's, with their defaults for all else: checksums, chunked encodings.
//!
//! Then the bucket's topic must hold exactly one event for each of the client's changes and nothing
//! else, and the function must have been told just these.

mod minio_client;
mod rclone;
mod sdks;

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Cli, Server, skip, topic_lines, until_settled, zip_file};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BUCKET: &str = "story";
/// What the function prints of each event.
const WITNESS: &str = r#"
import json

def handler(event, context):
    for record in event["Records"]:
        told = record["s3"]["object"]
        print("told " + json.dumps([record["eventName"], told["key"], told.get("size")]))
"#;
const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:witness";

/// What a client did that is an event: its name, the object's key as events spell it, and its size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deed(String, String, Option<u64>);

impl Deed {
    fn of(event: &Value) -> Option<Self> {
        let [name, key, size] = event.as_array()?.as_slice() else {
            return None;
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self(text(name)?, text(key)?, size.as_u64()))
    }

    fn put(key: &str, size: u64) -> Self {
        Self("ObjectCreated:Put".to_owned(), spelled(key), Some(size))
    }

    fn completed(key: &str, size: u64) -> Self {
        let name = "ObjectCreated:CompleteMultipartUpload".to_owned();
        Self(name, spelled(key), Some(size))
    }

    fn copied(key: &str, size: u64) -> Self {
        Self("ObjectCreated:Copy".to_owned(), spelled(key), Some(size))
    }

    fn tagged(name: &str, key: &str) -> Self {
        Self(format!("ObjectTagging:{name}"), spelled(key), None)
    }

    fn deleted(key: &str) -> Self {
        Self("ObjectRemoved:Delete".to_owned(), spelled(key), None)
    }
}

/// A key as AWS spells it in events: a plus for a space, and what is not plain in hexadecimal.
fn spelled(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*/".contains(&byte);
    key.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Each of `deeds` as often as it was done, in any order.
fn same(deeds: &[Deed], mut told: Vec<Deed>) -> Result<()> {
    let mut missing = deeds.to_vec();
    missing.retain(|deed| match told.iter().position(|other| other == deed) {
        Some(at) => {
            told.swap_remove(at);
            false
        }
        None => true,
    });
    let same = missing.is_empty() && told.is_empty();
    ensure!(same, "missing: {missing:?}, too many: {told:?}");
    Ok(())
}

/// The bytes that clients write, so that a story in any language can make them.
fn pattern(length: usize) -> Vec<u8> {
    let text = b"all work and no play, ";
    text.iter().copied().cycle().take(length).collect()
}

/// What the environment says of these, or else a skip.
fn variables<const N: usize>(test: &str, names: [&str; N]) -> Option<[String; N]> {
    let values = names.map(|name| std::env::var(name).ok());
    if let Some(missing) = names.iter().zip(&values).find(|(_, value)| value.is_none()) {
        skip(test, &format!("{} is not set", missing.0));
        return None;
    }
    Some(values.map(Option::unwrap_or_default))
}

/// Gets what is at an address as any program does that knows nothing of keys: the status, and the text.
async fn fetched(address: &str) -> Result<(u16, String)> {
    let (host, path) = address
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .context("an address")?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut connection = TcpStream::connect(host).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// A server with a function that can be told of what happens in buckets.
struct Stage {
    server: Server,
    work: tempfile::TempDir,
}

impl Stage {
    /// Nothing where the function cannot be deployed for want of the AWS CLI.
    fn set(test: &str) -> Result<Option<Self>> {
        let server = Server::start()?;
        let work = tempfile::tempdir()?;
        let Some(aws) = Cli::find(&server) else {
            skip(test, "the AWS CLI is not installed");
            return Ok(None);
        };
        let zip = zip_file(work.path(), "p.zip", &[("app.py", WITNESS.as_bytes())])?;
        let runs = ("python3.11", "app.handler");
        aws.create_function("witness", runs, &zip, &["--timeout", "30"])?;
        Ok(Some(Self { server, work }))
    }

    /// What a client does that has no word for it.
    fn have_the_function_told(&self) -> Result<()> {
        let aws = Cli::find(&self.server).context("the AWS CLI is gone")?;
        let all = [
            "s3:ObjectCreated:*",
            "s3:ObjectRemoved:*",
            "s3:ObjectTagging:*",
        ];
        aws.notify(BUCKET, "witness", &all)
    }

    /// Runs a client with the server's address and keys in AWS's variables.
    fn output(&self, command: &mut Command) -> Result<Output> {
        let (id, secret) = self.server.credentials()?;
        command
            .current_dir(self.work.path())
            .env("AWS_ENDPOINT_URL", self.server.endpoint())
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", "us-east-1")
            .env("FUNCTION_ARN", FUNCTION)
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("AWS_PROFILE");
        command.output().with_context(|| format!("run {command:?}"))
    }

    /// The same, which must succeed; returns what it printed.
    fn run(&self, command: &mut Command) -> Result<Vec<u8>> {
        let output = self.output(command)?;
        ensure!(
            output.status.success(),
            "{:?} ended with {}:\n{}{}",
            Vec::from_iter(command.get_args()),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }

    /// Writes a file for a client to read.
    fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.work.path().join(name);
        let folder = path.parent().context("a folder")?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// The topic of the bucket and the function agree that this happened, and nothing else.
    async fn saw_exactly(&self, deeds: Vec<Deed>) -> Result<()> {
        let lines = tests::consume_all(&self.server.bootstrap(), &format!("bucket.{BUCKET}"))?;
        let mut events = Vec::new();
        // A deletion is an event, and an empty record for the compaction of topics.
        for line in lines.iter().filter(|line| !line.value.is_empty()) {
            let event: Value = serde_json::from_slice(&line.value)?;
            let object = &event["s3"]["object"];
            let named = [&event["eventName"], &object["key"], &object["size"]];
            events.extend(Deed::of(&Value::from_iter(named.map(Value::clone))));
        }
        same(&deeds, events).context("the bucket's topic")?;

        until_settled(&self.server).await?;
        let logs = self.server.tidemill(&["logs", "witness"])?;
        let mut told = Vec::new();
        for line in logs.lines() {
            if let Some((_, event)) = line.split_once("told ") {
                told.extend(Deed::of(&serde_json::from_str(event)?));
            }
        }
        same(&deeds, told).context("what the function was told")?;
        for line in topic_lines(&self.server, "tidemill.usage")? {
            assert_eq!(line.value["outcome"], "success", "{}", line.value);
        }
        Ok(())
    }
}
