//! The bill: read from the billing topic, checked by separate code, the same every time.

use anyhow::Result;
use serde_json::Value;
use tests::{Cli, Server, charged, eventually, skip, sum, topic_lines, zip_file};

#[tokio::test]
async fn the_bill_equals_the_usage_and_a_second_report_is_the_same_to_the_byte() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("billing", "the AWS CLI is not installed");
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let zip = zip_file(
        work.path(),
        "f.zip",
        &[("app.py", b"def handler(e, c): return e")],
    )?;
    aws.create_function(
        "echo",
        ("python3.11", "app.handler"),
        &zip,
        &["--memory-size", "256"],
    )?;
    for _ in 0..5 {
        aws.invoke("echo", "{}")?;
    }
    let report =
        || -> Result<String> { server.tidemill(&["billing", "report", "--format", "json"]) };
    eventually("the bill covers all usage", async || {
        let report: Value = serde_json::from_str(&report()?)?;
        Ok((charged(&report) == 5).then_some(()))
    })
    .await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    let billed: u64 = usage
        .iter()
        .filter_map(|line| line.value["billed_ms"].as_u64())
        .sum();
    let first = report()?;
    assert_eq!(
        sum(&serde_json::from_str(&first)?, |line| line["billed_ms"]
            .as_u64()
            .unwrap()),
        billed
    );
    assert_eq!(report()?, first);
    let billing = topic_lines(&server, "tidemill.billing")?;
    let settled: u64 = billing
        .iter()
        .filter_map(|line| line.value["billed_ms"].as_u64())
        .sum();
    assert_eq!(settled, billed);
    for format in ["table", "csv", "focus"] {
        let printed = server.tidemill(&["billing", "report", "--format", format])?;
        assert!(printed.contains("echo"), "{format}: {printed}");
    }
    server.tidemill(&["billing", "verify"])?;
    Ok(())
}
