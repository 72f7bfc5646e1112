//! AWS clients pointed at a server.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use serde_json::{Value, json};

use crate::{Server, program};

/// The AWS SDK for Rust, as its users set it up.
///
/// # Errors
/// The server's credentials cannot be read.
pub fn s3(server: &Server) -> Result<aws_sdk_s3::Client> {
    let (id, secret) = server.credentials()?;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(server.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(true)
        .build();
    Ok(aws_sdk_s3::Client::from_conf(config))
}

/// The AWS command line, as a user who pasted the exported lines.
#[derive(Debug)]
pub struct Cli<'a> {
    server: &'a Server,
    program: std::path::PathBuf,
    key: Option<(String, String)>,
}

impl<'a> Cli<'a> {
    /// The command line, if this machine has it.
    #[must_use]
    pub fn find(server: &'a Server) -> Option<Self> {
        Some(Self {
            server,
            program: program("TIDEMILL_TEST_AWS", "aws")?,
            key: None,
        })
    }

    /// Whoever has that access key id and that secret.
    #[must_use]
    pub fn with_key(&self, id: &str, secret: &str) -> Self {
        Self {
            server: self.server,
            program: self.program.clone(),
            key: Some((id.to_owned(), secret.to_owned())),
        }
    }

    /// The server's Kafka address, as an event source mapping names it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.server.bootstrap()
    }

    /// Runs one command and returns what it printed.
    ///
    /// # Errors
    /// It fails; the message holds what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        ensure!(
            output.status.success(),
            "aws {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs one command that must fail and returns what it said.
    ///
    /// # Errors
    /// It succeeds.
    pub fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        ensure!(
            !output.status.success(),
            "aws {} succeeded: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(String::from_utf8(output.stderr)?)
    }

    /// Creates a function whose runtime and handler are these, with further options.
    ///
    /// # Errors
    /// It is refused.
    pub fn create_function(
        &self,
        name: &str,
        (runtime, handler): (&str, &str),
        zip: &Path,
        options: &[&str],
    ) -> Result<()> {
        let zip = format!("fileb://{}", zip.display());
        let arguments = [
            "lambda",
            "create-function",
            "--function-name",
            name,
            "--runtime",
            runtime,
            "--handler",
            handler,
            "--role",
            "arn:aws:iam::000000000000:role/any",
            "--zip-file",
            &zip,
        ];
        self.run(&[&arguments, options].concat()).map(drop)
    }

    /// Has a bucket call a function at the events of these names.
    ///
    /// # Errors
    /// It is refused.
    pub fn notify(&self, bucket: &str, function: &str, events: &[&str]) -> Result<()> {
        let arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{function}");
        let configuration = json!({"LambdaFunctionConfigurations": [{
            "LambdaFunctionArn": arn,
            "Events": events,
        }]});
        self.run(&[
            "s3api",
            "put-bucket-notification-configuration",
            "--bucket",
            bucket,
            "--notification-configuration",
            &configuration.to_string(),
        ])
        .map(drop)
    }

    /// Invokes a function and returns what it answered, error document or result.
    ///
    /// # Errors
    /// The invocation was refused, or the answer is not JSON.
    pub fn invoke(&self, function: &str, payload: &str) -> Result<Value> {
        self.invoke_with(function, payload, &[])
            .map(|(_, answer)| answer)
    }

    /// Invokes with further options and returns what the command printed, and the answer.
    ///
    /// # Errors
    /// As [`invoke`](Self::invoke).
    pub fn invoke_with(
        &self,
        function: &str,
        payload: &str,
        options: &[&str],
    ) -> Result<(Value, Value)> {
        let dir = tempfile::tempdir()?;
        let (event, answer) = (dir.path().join("event"), dir.path().join("answer"));
        std::fs::write(&event, payload)?;
        // `fileb://` means the same bytes to both major versions of the command.
        let event = format!("fileb://{}", event.display());
        let answer_file = answer.to_str().context("a path in UTF-8")?;
        let mut arguments = vec![
            "lambda",
            "invoke",
            "--function-name",
            function,
            "--payload",
            &event,
        ];
        arguments.extend_from_slice(options);
        arguments.push(answer_file);
        let printed = serde_json::from_str(&self.run(&arguments)?)?;
        let answer = std::fs::read(&answer)?;
        let answer = serde_json::from_slice(&answer)
            .with_context(|| format!("the answer {:?}", String::from_utf8_lossy(&answer)))?;
        Ok((printed, answer))
    }

    /// Has a function invoked (`Event`) with an empty document, and does not wait for it.
    ///
    /// # Errors
    /// It is refused.
    pub fn invoke_later(&self, function: &str) -> Result<()> {
        let invoke = ["lambda", "invoke", "--function-name", function];
        let later = ["--invocation-type", "Event", "/dev/null"];
        self.run(&[&invoke[..], &later].concat()).map(drop)
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let (id, secret) = match &self.key {
            Some(key) => key.clone(),
            None => self.server.credentials()?,
        };
        Command::new(&self.program)
            .args(arguments)
            .env("AWS_ENDPOINT_URL", self.server.endpoint())
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_PAGER", "")
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("AWS_PROFILE")
            .output()
            .with_context(|| format!("run {}", self.program.display()))
    }
}

/// An event source mapping of a topic of the server's log, from its beginning.
///
/// # Errors
/// It is refused; the message holds what was said.
pub fn map_topic(aws: &Cli<'_>, function: &str, topic: &str) -> Result<String> {
    let servers = aws.bootstrap();
    let servers: Vec<_> = servers.split(',').collect();
    let own = json!({"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}});
    aws.run(&[
        "lambda",
        "create-event-source-mapping",
        "--function-name",
        function,
        "--topics",
        topic,
        "--starting-position",
        "TRIM_HORIZON",
        "--batch-size",
        "10",
        "--self-managed-event-source",
        &own.to_string(),
    ])
}
