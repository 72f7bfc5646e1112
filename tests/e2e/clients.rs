//! Unmodified clients in other languages: kcat, confluent-kafka, kafka-python, boto3.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::{Server, program, repository, skip};

#[tokio::test]
async fn kcat_produces_and_consumes_and_reads_our_own_topics() -> Result<()> {
    let server = Server::start()?;
    let Some(kcat) = program("TIDEMILL_TEST_KCAT", "kcat") else {
        skip("kcat", "kcat is not installed");
        return Ok(());
    };
    let bootstrap = server.bootstrap();
    let mut produce = Command::new(&kcat)
        .args([
            "-P", "-b", &bootstrap, "-t", "words", "-K", ":", "-z", "lz4",
        ])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = produce.stdin.take().context("kcat's input")?;
    for n in 0..200 {
        writeln!(input, "k{}:word {n}", n % 7)?;
    }
    drop(input);
    ensure!(produce.wait()?.success(), "kcat -P failed");
    let consume = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(&kcat)
            .args(["-b", &bootstrap])
            .args(arguments)
            .output()?;
        ensure!(
            output.status.success(),
            "kcat {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    };
    let words = consume(&["-C", "-t", "words", "-e", "-q"])?;
    assert_eq!(words.lines().count(), 200);
    let first_key: Vec<_> = words
        .lines()
        .filter(|line| {
            line.strip_prefix("word ")
                .and_then(|n| n.parse::<u32>().ok())
                .is_some_and(|n| n % 7 == 0)
        })
        .collect();
    assert!(
        first_key.is_sorted_by_key(|line| line[5..].parse::<u32>().unwrap()),
        "one key keeps its order"
    );
    assert!(consume(&["-L"])?.contains("topic \"words\" with 8 partitions"));
    consume(&["-C", "-t", "tidemill.billing", "-e", "-q"])?;
    Ok(())
}

#[tokio::test]
async fn python_clients_pass_their_scripts() -> Result<()> {
    let Some(python) = program("TIDEMILL_TEST_PYTHON", "python3") else {
        skip("python clients", "python3 is not installed");
        return Ok(());
    };
    for (script, module) in [
        ("boto3_buckets.py", "boto3"),
        ("boto3_functions.py", "boto3"),
        ("confluent_groups.py", "confluent_kafka"),
        ("kafka_python_clients.py", "kafka"),
    ] {
        let import = Command::new(&python)
            .args(["-c", &format!("import {module}")])
            .output()?;
        if !import.status.success() {
            skip(
                script,
                &format!("the Python package {module} is not installed"),
            );
            continue;
        }
        let server = Server::start()?;
        let (id, secret) = server.credentials()?;
        let output = Command::new(&python)
            .arg(repository().join("tests/e2e/scripts").join(script))
            .env("AWS_ENDPOINT_URL", server.endpoint())
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("KAFKA_BOOTSTRAP", server.bootstrap())
            .output()?;
        ensure!(
            output.status.success(),
            "{script}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
