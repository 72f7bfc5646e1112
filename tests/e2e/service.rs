//! The process itself: starting, stopping, resting, refusing.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use aws_sdk_s3::presigning::PresigningConfig;
use tests::{
    Cli, Server, eventually, map_topic, publish, publish_to, run, skip, topic_lines, zip_file,
};

#[tokio::test]
async fn health_answers_when_ready_and_metrics_are_there() -> Result<()> {
    let server = Server::start()?;
    let get = |path: &str| -> Result<String> {
        let url = format!("{}{path}", server.endpoint());
        let output = Command::new("curl").args(["-sS", "-i", &url]).output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    assert!(get("/health")?.starts_with("HTTP/1.1 200"));
    publish(&server.bootstrap(), "t", [("k".to_owned(), "v".to_owned())]).await?;
    let metrics = get("/metrics")?;
    assert!(metrics.contains("# TYPE tidemill_"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_ends_cleanly_and_its_successor_has_everything() -> Result<()> {
    let mut server = Server::start()?;
    let before = server.credentials()?;
    publish(
        &server.bootstrap(),
        "t",
        (0..100).map(|n| (n.to_string(), n.to_string())),
    )
    .await?;
    assert!(server.stop()?.success());
    server.restart()?;
    assert_eq!(topic_lines(&server, "t")?.len(), 100);
    assert_eq!(server.credentials()?, before);
    Ok(())
}

const WRITES_LATE: &str = r#"
import base64, time
from urllib.request import Request, urlopen

def handler(event, context):
    print("began", flush=True)
    time.sleep(2)
    for record in event["records"]["jobs-0"]:
        url = base64.b64decode(record["value"]).decode()
        urlopen(Request(url, data=b"done", method="PUT"))
"#;

#[tokio::test]
async fn a_stopping_server_lets_functions_write_what_they_are_at() -> Result<()> {
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip(
            "a_stopping_server_lets_functions_write",
            "the AWS CLI is not installed",
        );
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "f.zip", &[("app.py", WRITES_LATE.as_bytes())])?;
    aws.run(&["s3", "mb", "s3://out"])?;
    aws.create_function(
        "late",
        ("python3.11", "app.handler"),
        &zip,
        &["--timeout", "30"],
    )?;
    map_topic(&aws, "late", "jobs")?;
    let s3 = tests::s3(&server)?;
    let valid = PresigningConfig::expires_in(Duration::from_secs(60))?;
    let url = s3
        .put_object()
        .bucket("out")
        .key("result")
        .presigned(valid)
        .await?;
    // The function looks at one partition: the one that this key goes to.
    publish_to(&server.bootstrap(), "jobs", 0, url.uri()).await?;
    eventually("the function has begun", async || {
        let logs = server.tidemill(&["logs", "late"]).unwrap_or_default();
        Ok(logs.contains("began").then_some(()))
    })
    .await?;
    assert!(server.stop()?.success());
    server.restart()?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    let logs = server.tidemill(&["logs", "late"])?;
    assert_eq!(usage.len(), 1, "{logs}");
    assert_eq!(usage[0].value["outcome"], "success", "{logs}");
    s3.head_object().bucket("out").key("result").send().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() -> Result<()> {
    let server = Server::start()?;
    let refused = server.tidemill(&["serve", "--http", "127.0.0.1:0", "--kafka", "127.0.0.1:0"]);
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("another server"), "{message}");
    Ok(())
}

#[tokio::test]
async fn anonymous_kafka_clients_are_kept_to_loopback() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("data").display().to_string();
    let refused = run(&[
        "serve",
        "--data-dir",
        &dir,
        "--http",
        "127.0.0.1:0",
        "--kafka",
        "0.0.0.0:0",
    ]);
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("kafka.sasl = true"), "{message}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_setting_is_refused_by_name() -> Result<()> {
    let message = Server::start_with("[functions]\nturbo = true\n")
        .unwrap_err()
        .to_string();
    assert!(message.contains("turbo"), "{message}");
    Ok(())
}

#[tokio::test]
async fn an_idle_server_uses_no_cpu() -> Result<()> {
    let server = Server::start()?;
    publish(&server.bootstrap(), "t", [("k".to_owned(), "v".to_owned())]).await?;
    // Past the moments when the first usage and logs settle.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = cpu_ticks(server.pid()?)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let used = cpu_ticks(server.pid()?)? - before;
    // A tick is 10 ms: up to 1 % of one core is rounding and the operating system's own.
    assert!(used <= 5, "{used} ticks in five seconds");
    Ok(())
}

#[test]
fn help_teaches_every_command() -> Result<()> {
    for command in ["serve", "demo", "logs", "billing", "status"] {
        let help = run(&["help", command])?;
        assert!(help.contains("Usage:"), "{help}");
    }
    Ok(())
}

#[test]
fn the_effective_configuration_can_be_printed_and_read_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let printed = run(&["serve", "--print-config"])?;
    let file = folder.path().join("printed.toml");
    std::fs::write(&file, &printed)?;
    let again = run(&[
        "serve",
        "--config",
        &file.display().to_string(),
        "--print-config",
    ])?;
    assert_eq!(again, printed);
    Ok(())
}

/// User and system time of a process in clock ticks (`/proc/PID/stat`, fields 14 and 15).
fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<_> = after_name.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

#[test]
fn the_binary_names_its_version() -> Result<()> {
    assert!(run(&["--version"])?.starts_with("tidemill 0."));
    Ok(())
}
