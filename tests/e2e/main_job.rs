//! Drop a file, publish to a topic: functions run, and the bill says so.

use std::collections::BTreeMap;

use anyhow::Result;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};
use tests::{
    Cli, Server, charged, eventually, map_topic, order_total, publish, skip, topic_lines,
    until_settled, zip_file,
};

const COPY_UPPER: &str = r#"
import json, os, urllib.parse, urllib.request

def handler(event, context):
    for record in event["Records"]:
        print("saw", urllib.parse.unquote_plus(record["s3"]["object"]["key"]), record["eventName"])
    return {"seen": len(event["Records"])}
"#;

const COUNT_RECORDS: &str = r#"
exports.handler = async (event) => {
  let seen = 0;
  for (const records of Object.values(event.records)) {
    for (const record of records) {
      const value = Buffer.from(record.value, "base64").toString();
      console.log(`record ${record.topic} ${record.partition} ${record.offset} ${value}`);
      seen += 1;
    }
  }
  return { seen };
};
"#;

#[tokio::test]
async fn files_and_records_run_functions_and_every_run_is_billed() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip(
            "files_and_records_run_functions",
            "the AWS CLI is not installed",
        );
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    deploy(&aws, work.path())?;

    let s3 = tests::s3(&server)?;
    for name in ["in/a b.csv", "in/ünï.csv", "in/skip.txt", "other/c.csv"] {
        s3.put_object()
            .bucket("inbox")
            .key(name)
            .body(ByteStream::from_static(b"x,y\n1,2\n"))
            .send()
            .await?;
    }
    let records = (0..40).map(|n| (format!("k{}", n % 5), json!({"n": n}).to_string()));
    publish(&server.bootstrap(), "orders", records).await?;

    let triggers = until_settled(&server).await?;
    let succeeded: u64 = triggers
        .iter()
        .filter_map(|trigger| trigger["succeeded"].as_u64())
        .sum();
    assert_eq!(succeeded, 2 + 40 + 40, "{triggers:#?}");

    let logs = server.tidemill(&["logs", "files"])?;
    assert!(logs.contains("saw in/a b.csv ObjectCreated:Put"), "{logs}");
    assert!(logs.contains("saw in/ünï.csv ObjectCreated:Put"), "{logs}");
    assert!(
        !logs.contains("skip.txt") && !logs.contains("other/"),
        "{logs}"
    );
    assert_eq!(
        server
            .tidemill(&["logs", "records"])?
            .matches("\trecord orders")
            .count()
            + server
                .tidemill(&["logs", "records"])?
                .matches("INFO\trecord orders")
                .count(),
        2 * 40,
    );

    let usage = topic_lines(&server, "tidemill.usage")?;
    let mut billed: BTreeMap<&str, u64> = BTreeMap::new();
    for line in &usage {
        assert_eq!(line.value["outcome"], "success", "{}", line.value);
        *billed
            .entry(line.value["function"].as_str().unwrap())
            .or_default() += line.value["records"].as_u64().unwrap();
    }
    assert_eq!(
        billed,
        BTreeMap::from([("files", 2), ("records", 40), ("totals", 40)])
    );

    eventually("the bill covers all usage", async || {
        let report: Value =
            serde_json::from_str(&server.tidemill(&["billing", "report", "--format", "json"])?)?;
        Ok((charged(&report) == usage.len() as u64).then_some(()))
    })
    .await?;
    server.tidemill(&["billing", "verify"])?;
    Ok(())
}

fn deploy(aws: &Cli<'_>, work: &std::path::Path) -> Result<()> {
    let create = |name: &str, runtime: &str, handler: &str, zip: &std::path::Path| {
        aws.create_function(name, (runtime, handler), zip, &["--timeout", "30"])
    };
    let python = zip_file(work, "files.zip", &[("app.py", COPY_UPPER.as_bytes())])?;
    let node = zip_file(
        work,
        "records.zip",
        &[("index.js", COUNT_RECORDS.as_bytes())],
    )?;
    let rust = zip_file(work, "totals.zip", &[("bootstrap", order_total()?)])?;
    create("files", "python3.11", "app.handler", &python)?;
    create("records", "nodejs20.x", "index.handler", &node)?;
    create("totals", "provided.al2023", "bootstrap", &rust)?;
    aws.run(&["s3", "mb", "s3://inbox"])?;
    let notification = json!({"LambdaFunctionConfigurations": [{
        "Id": "csv",
        "LambdaFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:files",
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [
            {"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".csv"},
        ]}},
    }]});
    aws.run(&[
        "s3api",
        "put-bucket-notification-configuration",
        "--bucket",
        "inbox",
        "--notification-configuration",
        &notification.to_string(),
    ])?;
    for function in ["records", "totals"] {
        map_topic(aws, function, "orders")?;
    }
    Ok(())
}
