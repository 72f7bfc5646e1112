//! Unmodified clients in other languages: kcat, confluent-kafka, kafka-python, boto3.

use std::io::Write;
use std::path::Path;
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

#[test]
fn boto3_uses_buckets_as_it_does_elsewhere() -> Result<()> {
    on_a_server("boto3_buckets.py", "boto3")
}

#[test]
fn boto3_tags_objects() -> Result<()> {
    on_a_server("boto3_tags.py", "boto3")
}

#[test]
fn boto3_gives_buckets_lifecycle_rules() -> Result<()> {
    on_a_server("boto3_lifecycle.py", "boto3")
}

#[test]
fn boto3_keeps_versions() -> Result<()> {
    on_a_server("boto3_versions.py", "boto3")
}

#[test]
fn boto3_deploys_and_invokes_functions() -> Result<()> {
    on_a_server("boto3_functions.py", "boto3")
}

#[test]
fn confluent_kafka_produces_and_consumes_in_groups() -> Result<()> {
    on_a_server("confluent_groups.py", "confluent_kafka")
}

#[test]
fn kafka_python_produces_and_consumes_in_groups() -> Result<()> {
    on_a_server("kafka_python_clients.py", "kafka")
}

/// What our port is held to is what Kafka does: the same scripts must pass against Kafka itself.
#[test]
fn apache_kafka_passes_the_same_scripts() -> Result<()> {
    let Some(kafka) = std::env::var("TIDEMILL_TEST_KAFKA").ok() else {
        skip(
            "apache_kafka_passes_the_same_scripts",
            "no Apache Kafka was started",
        );
        return Ok(());
    };
    for (name, module) in [
        ("confluent_groups.py", "confluent_kafka"),
        ("kafka_python_clients.py", "kafka"),
    ] {
        script(name, module, &[], &[("KAFKA_BOOTSTRAP", kafka.clone())])?;
    }
    Ok(())
}

/// Likewise for buckets: an S3 server that is not ours.
#[test]
fn another_s3_server_passes_the_same_script() -> Result<()> {
    let variable = |name: &str| std::env::var(format!("TIDEMILL_TEST_S3{name}")).ok();
    let (Some(endpoint), Some(id), Some(secret)) = (
        variable(""),
        variable("_ACCESS_KEY"),
        variable("_SECRET_KEY"),
    ) else {
        skip(
            "another_s3_server_passes_the_same_script",
            "no other S3 server was started",
        );
        return Ok(());
    };
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("BUCKETS_OF", "another server".to_owned()),
    ];
    script("boto3_buckets.py", "boto3", &[], &environment)
}

pub(crate) fn on_a_server(name: &str, module: &str) -> Result<()> {
    on_a_server_with(name, module, &[])
}

/// Runs a script that needs a Python module, with arguments.
pub(crate) fn on_a_server_with(name: &str, module: &str, arguments: &[&Path]) -> Result<()> {
    let server = Server::start()?;
    let (id, secret) = server.credentials()?;
    let environment = [
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("KAFKA_BOOTSTRAP", server.bootstrap()),
    ];
    script(name, module, arguments, &environment)
}

fn script(
    name: &str,
    module: &str,
    arguments: &[&Path],
    environment: &[(&str, String)],
) -> Result<()> {
    let Some(python) = program("TIDEMILL_TEST_PYTHON", "python3") else {
        skip(name, "python3 is not installed");
        return Ok(());
    };
    let import = Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output()?;
    if !import.status.success() {
        skip(
            name,
            &format!("the Python package {module} is not installed"),
        );
        return Ok(());
    }
    // A client that hangs is a failure with a name, not a suite without an end.
    let output = Command::new("timeout")
        .arg("120")
        .arg(&python)
        .arg(repository().join("tests/e2e/scripts").join(name))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .output()?;
    ensure!(
        output.status.success(),
        "{name}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
