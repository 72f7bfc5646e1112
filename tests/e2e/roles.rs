//! What a function may do with the key that it is given.

use anyhow::{Context, Result, ensure};
use tests::{Cli, Server, logs_in, skip, zip_file};

/// Reads the bucket `inbox`, and nothing else.
const READER: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
     "Resource": ["arn:aws:s3:::inbox", "arn:aws:s3:::inbox/*"]}]}"#;

/// Deploys a function of that role and returns its key.
fn key_of(aws: &Cli<'_>, role: &str) -> Result<(String, String)> {
    let work = tempfile::tempdir()?;
    let handler = include_bytes!("handlers/own_key.py");
    let package = zip_file(work.path(), "package.zip", &[("app.py", handler)])?;
    let name = format!("of-{role}");
    aws.create_function(&name, ("python3.11", "app.handler"), &package, &[])?;
    let role = format!("arn:aws:iam::000000000000:role/service/{role}");
    let update = ["lambda", "update-function-configuration", "--function-name"];
    aws.run(&[&update[..], &[&name, "--role", &role]].concat())?;
    let key: Vec<String> = serde_json::from_value(aws.invoke(&name, "{}")?)?;
    let [id, secret] = <[String; 2]>::try_from(key).ok().context("a key")?;
    Ok((id, secret))
}

#[tokio::test]
async fn a_function_uses_data_and_changes_nothing_that_is_deployed() -> Result<()> {
    let mut server = Server::start()?;
    let key = {
        let Some(aws) = Cli::find(&server) else {
            skip("roles", "the AWS CLI is not installed");
            return Ok(());
        };
        aws.run(&["s3", "mb", "s3://inbox"])?;
        let key = key_of(&aws, "any")?;
        ensure!(key.0 != server.credentials()?.0, "it is the account's");
        key
    };
    server.kill()?;
    server.restart()?;
    let aws = Cli::find(&server).context("it was there")?;
    let function = aws.with_key(&key.0, &key.1);
    let body = server.data_dir().join("credentials").display().to_string();
    function.run(&["s3", "cp", &body, "s3://inbox/a"])?;
    function.run(&["s3", "ls", "s3://inbox/"])?;
    function.run(&["s3", "rm", "s3://inbox/a"])?;
    let (_, again) = function.invoke_with("of-any", "{}", &[])?;
    ensure!(again[0].as_str() == Some(&key.0), "{again}");
    for refused in [
        &["s3", "mb", "s3://other"][..],
        &["s3", "rb", "s3://inbox"],
        &[
            "s3api",
            "get-bucket-notification-configuration",
            "--bucket",
            "inbox",
        ],
        &["lambda", "list-functions"],
        &["lambda", "get-function", "--function-name", "of-any"],
        &["lambda", "delete-function", "--function-name", "of-any"],
        &["lambda", "publish-version", "--function-name", "of-any"],
    ] {
        let said = function.refused(refused)?;
        ensure!(said.contains("AccessDenied"), "{refused:?}: {said}");
    }
    // Topics are read whole through our own command line.
    let home = tempfile::tempdir()?;
    let text = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        key.0, key.1
    );
    std::fs::write(home.path().join("credentials"), text)?;
    let (home, endpoint) = (home.path().display().to_string(), server.endpoint());
    for command in [&["status"][..], &["logs", "of-any"], &["connector", "list"]] {
        let there = ["--data-dir", &home, "--endpoint-url", &endpoint];
        let refused = tests::run(&[command, &there].concat());
        let said = format!("{:#}", refused.err().context("it was answered")?);
        ensure!(said.contains("is not authorized to perform"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_role_with_a_policy_may_do_what_it_says() -> Result<()> {
    let work = tempfile::tempdir()?;
    let (policy, broken) = (work.path().join("reader.json"), work.path().join("broken"));
    std::fs::write(&policy, READER)?;
    std::fs::write(&broken, READER.replace("Action", "NotAction"))?;
    let settings = |path| format!("[roles]\nreader = {path:?}\n[kafka]\nsasl = true\n");
    let refused = Server::start_with(&settings(&broken)).err();
    let said = format!("{:#}", refused.context("it was applied")?);
    ensure!(said.contains("NotAction is not supported"), "{said}");

    let server = Server::start_with(&settings(&policy))?;
    let Some(aws) = Cli::find(&server) else {
        skip("roles", "the AWS CLI is not installed");
        return Ok(());
    };
    for bucket in ["inbox", "other"] {
        aws.run(&["s3", "mb", &format!("s3://{bucket}")])?;
        let from = policy.display().to_string();
        aws.run(&["s3", "cp", &from, &format!("s3://{bucket}/a")])?;
    }
    let key = key_of(&aws, "reader")?;
    let reader = aws.with_key(&key.0, &key.1);
    assert_eq!(reader.run(&["s3", "cp", "s3://inbox/a", "-"])?, READER);
    for refused in [
        &["s3", "cp", "s3://other/a", "-"][..],
        &["s3", "rm", "s3://inbox/a"],
        &["s3", "ls"],
        &["lambda", "invoke", "--function-name", "of-reader", "answer"],
    ] {
        let said = reader.refused(refused)?;
        let known = said.contains("AccessDenied") || said.contains("(403)");
        ensure!(known, "{refused:?}: {said}");
    }
    // The Kafka port lets in whose role may connect.
    let any = key_of(&aws, "any")?;
    for (key, known) in [(key, false), (any, true), (server.credentials()?, true)] {
        let connected = logs_in(&server.bootstrap(), &key)?;
        assert_eq!(connected, known, "{}", key.0);
    }
    Ok(())
}
