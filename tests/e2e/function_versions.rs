//! Triggers and asynchronous invocations of versions and aliases, over a restart.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use tests::{
    Cli, Server, eventually, map_topic, publish, skip, topic_lines, until_settled, zip_file,
};

const PYTHON: (&str, &str) = ("python3.11", "app.handler");
/// Fails where it is another version than the one that its code is for.
const HANDLER: &str = "import os\ndef handler(event, context):\n    \
    assert os.environ['AWS_LAMBDA_FUNCTION_VERSION'] == '";

#[test]
fn boto3_publishes_versions_and_points_aliases() -> Result<()> {
    crate::clients::on_a_server("boto3_aliases.py", "boto3")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_run_the_version_that_they_name_and_bills_say_which() -> Result<()> {
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        let test = "triggers_run_the_version_that_they_name_and_bills_say_which";
        skip(test, "no AWS command line");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let first = package(dir.path(), "1")?;
    aws.create_function("f", PYTHON, &first, &["--publish"])?;
    let second = format!("fileb://{}", package(dir.path(), "2")?.display());
    aws.run(
        &[
            &["lambda", "update-function-code", "--function-name", "f"][..],
            &["--publish", "--zip-file", &second],
        ]
        .concat(),
    )?;
    let alias = ["--function-name", "f", "--name", "live"];
    let point = |aws: &Cli<'_>, act: &str, version: &str| {
        let to = ["--function-version", version];
        aws.run(&[&["lambda", act][..], &alias, &to].concat())
    };
    point(&aws, "create-alias", "1")?;
    let s3 = tests::s3(&server)?;
    s3.create_bucket().bucket("inbox").send().await?;
    aws.notify("inbox", "f:live", &["s3:ObjectCreated:*"])?;
    let shown = aws.run(&[
        "s3api",
        "get-bucket-notification-configuration",
        "--bucket",
        "inbox",
    ])?;
    ensure!(shown.contains("function:f:live"), "{shown}");
    map_topic(&aws, "f:2", "readings")?;
    let put = |key: &'static str| {
        let put = s3.put_object().bucket("inbox").key(key);
        put.body(ByteStream::from_static(b"x")).send()
    };
    put("before").await?;
    let records = ["a", "b"].map(|text| (text.to_owned(), text.to_owned()));
    publish(&server.bootstrap(), "readings", records).await?;
    let accepted = aws.run(&[
        "lambda",
        "invoke",
        "--function-name",
        "f:live",
        "--invocation-type",
        "Event",
        "/dev/null",
    ])?;
    ensure!(accepted.contains("202"), "{accepted}");
    until_settled(&server).await?;
    let provision = ["--provisioned-concurrent-executions", "2"];
    aws.run(
        &[
            &["lambda", "put-provisioned-concurrency-config"][..],
            &["--function-name", "f", "--qualifier", "live"],
            &provision,
        ]
        .concat(),
    )?;

    server.kill()?;
    server.restart()?;
    let aws = Cli::find(&server).context("the AWS CLI, found before")?;
    point(&aws, "update-alias", "2")?;
    put("after").await?;
    eventually("provisioned concurrency is there again", async || {
        let shown = aws.run(
            &[
                &["lambda", "get-provisioned-concurrency-config"][..],
                &["--function-name", "f", "--qualifier", "live"],
            ]
            .concat(),
        )?;
        Ok(shown.contains("READY").then_some(()))
    })
    .await?;
    let triggers = until_settled(&server).await?;
    let failed = triggers.iter().filter(|trigger| trigger["failed"] != 0);
    ensure!(failed.count() == 0, "{triggers:#?}");
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in topic_lines(&server, "tidemill.usage")? {
        let used = line.value;
        ensure!(used["outcome"] == "success", "{used}");
        let text = |member: &str| used[member].as_str().unwrap_or_default().to_owned();
        let event = text("event");
        let source = event.split('@').next().unwrap_or_default();
        let source = source.rsplit_once('-').map_or(source, |(topic, _)| topic);
        versions
            .entry(source.to_owned())
            .or_default()
            .push(text("version"));
    }
    versions.values_mut().for_each(|of| of.sort());
    ensure!(versions["bucket.inbox"] == ["1", "2"], "{versions:?}");
    ensure!(versions["tidemill.async"] == ["1"], "{versions:?}");
    ensure!(
        versions["readings"].iter().all(|of| of == "2"),
        "{versions:?}"
    );
    server.tidemill(&["billing", "verify"])?;
    Ok(())
}

/// Code that is to run as this version alone.
fn package(dir: &Path, version: &str) -> Result<std::path::PathBuf> {
    let source = format!("{HANDLER}{version}'\n");
    let name = format!("{version}.zip");
    zip_file(dir, &name, &[("app.py", source.as_bytes())])
}
