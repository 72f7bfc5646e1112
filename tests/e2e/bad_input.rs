//! Bad input: a typed error that names the thing, and nothing else disturbed.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};
use tests::{Cli, Server, order_total, publish, skip, topic_lines, zip_file};

const ROLE: &str = "arn:aws:iam::000000000000:role/any";

#[tokio::test]
async fn the_lambda_api_names_what_is_wrong_and_goes_on() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip(
            "bad input to the Lambda API",
            "the AWS CLI is not installed",
        );
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let good = zip_file(work.path(), "good.zip", &[("bootstrap", order_total()?)])?;
    let evil = zip_file(work.path(), "evil.zip", &[("../../escaped", b"x")])?;
    let torn = work.path().join("torn.zip");
    let mut bytes = std::fs::read(&good)?;
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x55);
    std::fs::write(&torn, bytes)?;

    let create = |runtime: &str, zip: &std::path::Path, more: &[&str]| {
        let zip = format!("fileb://{}", zip.display());
        let mut arguments = vec![
            "lambda",
            "create-function",
            "--function-name",
            "f",
            "--handler",
            "bootstrap",
            "--role",
            ROLE,
            "--runtime",
            runtime,
            "--zip-file",
            &zip,
        ];
        arguments.extend_from_slice(more);
        aws.refused(&arguments)
    };
    let says = |message: String, words: &[&str]| {
        for word in words {
            assert!(message.contains(word), "{word:?} is missing in: {message}");
        }
    };
    says(
        create("provided.al2023", &torn, &[])?,
        &["InvalidParameterValueException", "nzip"],
    );
    says(
        create("provided.al2023", &evil, &[])?,
        &["InvalidParameterValueException", "escaped"],
    );
    assert!(!server.data_dir().join("escaped").exists());
    says(create("cobol85", &good, &[])?, &["cobol85"]);
    says(create("java8.al2", &good, &[])?, &["java8.al2"]);
    let layer = "arn:aws:lambda:us-east-1:000000000000:layer:l:1";
    says(
        create("provided.al2023", &good, &["--layers", layer])?,
        &["InvalidParameterValueException", layer, "does not exist"],
    );
    says(
        create("provided.al2023", &good, &["--memory-size", "64"])?,
        &["64"],
    );
    says(
        aws.refused(&["lambda", "get-function", "--function-name", "f"])?,
        &["ResourceNotFoundException", "function:f"],
    );
    aws.run(&[
        "lambda",
        "create-function",
        "--function-name",
        "f",
        "--handler",
        "bootstrap",
        "--role",
        ROLE,
        "--runtime",
        "provided.al2023",
        "--zip-file",
        &format!("fileb://{}", good.display()),
    ])?;
    let too_large = serde_json::json!("x".repeat(6 << 20)).to_string();
    let refused = aws.invoke("f", &too_large).unwrap_err().to_string();
    says(refused, &["RequestTooLarge"]);
    assert!(aws.run(&["lambda", "list-functions"])?.contains("\"f\""));
    aws.run(&["lambda", "delete-function", "--function-name", "f"])?;
    assert!(!aws.run(&["lambda", "list-functions"])?.contains("\"f\""));
    Ok(())
}

#[tokio::test]
async fn a_wrong_signature_is_refused_by_both_services() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("wrong signature", "the AWS CLI is not installed");
        return Ok(());
    };
    let (id, _) = server.credentials()?;
    let forged = aws.with_key(&id, "not the secret at all");
    let refused = forged.refused(&["s3", "ls"])?;
    assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");
    let refused = forged.refused(&["lambda", "list-functions"])?;
    assert!(refused.contains("InvalidSignatureException"), "{refused}");
    let (status, _) = plain_get(&server, "/some-bucket/key")?;
    assert_eq!(status, 403);
    let (status, body) = plain_get(&server, "/2015-03-31/functions/")?;
    assert_eq!(status, 403);
    assert!(
        body.contains("MissingAuthenticationToken") || body.contains("issing Authentication Token"),
        "{body}"
    );
    aws.run(&["s3", "ls"])?;
    Ok(())
}

#[tokio::test]
async fn bad_topic_names_and_our_own_topics_are_refused_to_kafka_clients() -> Result<()> {
    let server = Server::start()?;
    for topic in ["no/slash", "tidemill.usage", "bucket.x"] {
        let sent = publish(
            &server.bootstrap(),
            topic,
            [("k".to_owned(), "v".to_owned())],
        )
        .await;
        assert!(sent.is_err(), "{topic} was accepted");
    }
    publish(
        &server.bootstrap(),
        "fine",
        [("k".to_owned(), "{}".to_owned())],
    )
    .await?;
    assert_eq!(topic_lines(&server, "fine")?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn garbage_on_the_kafka_port_closes_that_connection_only() -> Result<()> {
    let server = Server::start()?;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 8, 0, 3, 0, 99, 0, 0, 0, 1],
        &[
            0, 0, 0, 20, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff,
            0, 0, 0,
        ],
    ] {
        let mut connection = TcpStream::connect(server.bootstrap())?;
        connection.write_all(garbage)?;
        connection.shutdown(std::net::Shutdown::Write)?;
        let _ = connection.read_to_end(&mut Vec::new());
    }
    publish(
        &server.bootstrap(),
        "fine",
        [("k".to_owned(), "{}".to_owned())],
    )
    .await
}

#[tokio::test]
async fn damage_in_the_middle_of_the_log_is_named_and_the_rest_is_served() -> Result<()> {
    let mut server = Server::start()?;
    for n in 0..50 {
        let record = (
            format!("k{n}"),
            format!("{{\"n\":{n},\"mark\":\"find-me-{n:03}\"}}"),
        );
        publish(&server.bootstrap(), "orders", [record]).await?;
    }
    server.kill()?;
    let segment = damage(&server, b"find-me-020")?;
    server.restart()?;
    let log = server.log();
    assert!(
        log.contains(&segment),
        "the log does not name {segment}: {log}"
    );
    // Nothing of the damaged topic is passed off as whole; every other topic is served.
    assert!(topic_lines(&server, "orders").is_err());
    publish(
        &server.bootstrap(),
        "other",
        [("k".to_owned(), "{}".to_owned())],
    )
    .await?;
    assert_eq!(topic_lines(&server, "other")?.len(), 1);
    Ok(())
}

/// Flips a bit in the one place of the log that holds `needle`; returns the file's name.
fn damage(server: &Server, needle: &[u8]) -> Result<String> {
    let mut folders = vec![server.data_dir().join("log")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = std::fs::read(&path)?;
            let found = bytes
                .windows(needle.len())
                .position(|window| window == needle);
            if let Some(at) = found {
                bytes[at] ^= 1;
                std::fs::write(&path, bytes)?;
                let name = path.file_name().context("a file name")?;
                return Ok(name.to_string_lossy().into_owned());
            }
        }
    }
    anyhow::bail!("the log does not hold the record")
}

/// An unsigned request, by hand.
fn plain_get(server: &Server, path: &str) -> Result<(u16, String)> {
    let address = server.endpoint();
    let address = address.strip_prefix("http://").context("an address")?;
    let mut connection = TcpStream::connect(address)?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, answer))
}
