//! What a local folder's files hold, read where code written for Lambda looks for it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use serde_json::Value;
use tests::{Cli, Server, eventually, program, repository, skip};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_reads_the_file_that_was_dropped() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let Some(package) = package(work.path())? else {
        skip("connectors", "the Python package boto3 is not installed");
        return Ok(());
    };
    let folder = work.path().join("scans");
    std::fs::create_dir_all(folder.join("in"))?;
    std::fs::write(work.path().join("outside"), "secret")?;
    std::os::unix::fs::symlink(work.path().join("outside"), folder.join("link"))?;
    let path = folder.display().to_string();
    let add = ["connector", "add", "folder", "--path", &path, "--name"];
    aws.run(&["s3", "mb", "s3://answers"])?;
    let taken = server.attempt(&[&add[..], &["answers"]].concat())?;
    let said = String::from_utf8(taken.stderr)?;
    ensure!(
        !taken.status.success() && said.contains("bucket.answers belongs to a bucket"),
        "{said}"
    );
    server.tidemill(&[&add[..], &["scans"]].concat())?;
    let refused = aws.refused(&["s3", "mb", "s3://scans"])?;
    ensure!(refused.contains("BucketAlreadyExists"), "{refused}");
    let how = ["--timeout", "30", "--memory-size", "256"];
    aws.create_function("read", ("python3.11", "app.handler"), &package, &how)?;
    aws.notify("scans", "read", &["s3:ObjectCreated:*"])?;

    std::fs::write(folder.join("in/märz 1.txt"), "Hello from a folder")?;
    let s3 = tests::s3(&server)?;
    let answer = eventually("the function has answered", async || {
        let get = s3.get_object().bucket("answers").key("in/märz 1.txt");
        Ok(match get.send().await {
            Ok(found) => Some(found.body.collect().await?.to_vec()),
            Err(error) if error.code() == Some("NoSuchKey") => None,
            Err(error) => return Err(error.into()),
        })
    });
    let answer: Value = serde_json::from_slice(&answer.await?)?;
    assert_eq!(answer["text"], "Hello from a folder", "{answer}");
    assert_eq!(answer["written"], "AccessDenied", "{answer}");
    let told = answer["told"].as_str().context("a tag")?.to_owned();
    for etag in answer["etags"].as_array().context("tags")? {
        assert_eq!(etag.as_str(), Some(format!("\"{told}\"").as_str()));
    }

    // By then it is another file, as S3 says it.
    std::fs::write(folder.join("in/märz 1.txt"), "Hello again, from a folder")?;
    let late = s3.get_object().bucket("scans").key("in/märz 1.txt");
    let late = late.if_match(format!("\"{told}\"")).send().await;
    assert_eq!(late.unwrap_err().code(), Some("PreconditionFailed"));
    for key in ["link", "../outside", "in/../../outside", "/etc/passwd"] {
        let get = s3.get_object().bucket("scans").key(key).send().await;
        let code = get.err().and_then(|it| it.code().map(str::to_owned));
        // The SDK itself takes dots out of a path: then it is another bucket that is asked for.
        let code = code.with_context(|| format!("{key} can be read"))?;
        ensure!(
            code == "NoSuchKey" || code == "NoSuchBucket",
            "{key}: {code}"
        );
    }
    let copy = s3.copy_object().bucket("answers").key("copy");
    let copy = copy.copy_source("scans/in/m%C3%A4rz%201.txt").send();
    copy.await?;
    let shown = aws.run(&["s3", "cp", "s3://answers/copy", "-"])?;
    assert_eq!(shown, "Hello again, from a folder");
    let shown = aws.run(&["s3", "ls", "--recursive", "s3://scans/"])?;
    ensure!(
        shown.lines().count() == 1 && shown.contains("in/märz 1.txt"),
        "{shown}"
    );
    let shown = aws.run(&["s3", "ls"])?;
    ensure!(
        shown.contains("scans") && shown.contains("answers"),
        "{shown}"
    );

    server.tidemill(&["connector", "remove", "scans"])?;
    let gone = s3.get_object().bucket("scans").key("in/märz 1.txt").send();
    assert_eq!(gone.await.unwrap_err().code(), Some("NoSuchBucket"));
    Ok(())
}

/// A function with the boto3 of the Python that tests use.
fn package(work: &std::path::Path) -> Result<Option<std::path::PathBuf>> {
    let Some(python) = program("TIDEMILL_TEST_PYTHON", "python3") else {
        return Ok(None);
    };
    let here = Command::new(&python)
        .args(["-c", "import boto3"])
        .output()?;
    if !here.status.success() {
        return Ok(None);
    }
    let (tests, package) = (repository().join("tests/e2e"), work.join("read.zip"));
    let packaged = Command::new(&python)
        .arg(tests.join("scripts/package_boto3.py"))
        .arg(tests.join("handlers/read_dropped.py"))
        .arg(&package)
        .output()?;
    let said = String::from_utf8_lossy(&packaged.stderr);
    ensure!(packaged.status.success(), "{said}");
    Ok(Some(package))
}
