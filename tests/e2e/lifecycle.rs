//! Objects that go by themselves: each with its event, once, whatever dies meanwhile.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, Tag, Tagging,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tests::{Cli, Server, consume_all, eventually, skip, until_settled, zip_file};

/// In each round.
const OBJECTS: usize = 200;
/// Kills while objects go.
const ROUNDS: usize = 3;
const WANTS_EXPIRATIONS: &str = "def handler(event, context):\n    \
    names = {record['eventName'] for record in event['Records']}\n    \
    assert names == {'LifecycleExpiration:Delete'}, names\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_goes_with_one_event_of_its_own_when_the_server_is_killed_meanwhile() -> Result<()>
{
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("lifecycle", "the AWS CLI is not installed");
        return Ok(());
    };
    deploy(&aws)?;
    let s3 = tests::s3(&server)?;
    let put = |key: String, bytes: usize| {
        let put = s3.put_object().bucket("data").key(key);
        put.body(ByteStream::from(vec![b'x'; bytes])).send()
    };
    put("kept".to_owned(), 10).await?;
    let tag = Tag::builder().key("state").value("kept").build()?;
    let tagging = Tagging::builder().tag_set(tag).build()?;
    let tags = s3.put_object_tagging().bucket("data").key("kept");
    tags.tagging(tagging).send().await?;
    for round in 0..ROUNDS {
        let prefix = format!("old/{round}/");
        let objects = (0..OBJECTS).map(|n| put(format!("{prefix}{n}"), 100 + n % 10 * 10_000));
        let _: Vec<_> = stream::iter(objects)
            .buffer_unordered(32)
            .try_collect()
            .await?;
        expire(&s3).await?;
        // The first to go says that the others are on their way.
        eventually("an old object has gone", async || {
            let left = s3.list_objects_v2().bucket("data").prefix(&prefix);
            let left = left.send().await?.contents().len();
            Ok((left < OBJECTS).then_some(()))
        })
        .await?;
        server.kill()?;
        server.restart()?;
    }
    let aws = Cli::find(&server).context("the AWS CLI, found before")?;
    let rules: Value = serde_json::from_str(&aws.run(&[
        "s3api",
        "get-bucket-lifecycle-configuration",
        "--bucket",
        "data",
    ])?)?;
    ensure!(rules["Rules"][0]["ID"] == "old ones", "{rules}");

    eventually("all old objects have gone", async || {
        let left = s3.list_objects_v2().bucket("data").send().await?;
        let left: Vec<_> = left.contents().iter().filter_map(|it| it.key()).collect();
        Ok((left == ["kept"]).then_some(()))
    })
    .await?;
    let tags = s3.get_object_tagging().bucket("data").key("kept");
    let tags = tags.send().await?;
    ensure!(tags.tag_set().len() == 1 && tags.tag_set()[0].value() == "kept");
    // One that went without an event could not get one any more; one that stayed after its event
    // would have got a second.
    let mut expirations: BTreeMap<String, usize> = BTreeMap::new();
    for record in consume_all(&server.bootstrap(), "bucket.data")? {
        if record.value.is_empty() {
            continue;
        }
        let event: Value = serde_json::from_slice(&record.value)?;
        if event["eventName"] == "LifecycleExpiration:Delete" {
            ensure!(event["userIdentity"]["principalId"] == "s3.amazonaws.com");
            let key = event["s3"]["object"]["key"].as_str().unwrap_or_default();
            *expirations.entry(key.to_owned()).or_default() += 1;
        }
    }
    let old = ROUNDS * OBJECTS;
    ensure!(expirations.len() == old, "{} events", expirations.len());
    ensure!(expirations.values().all(|times| *times == 1));

    let triggers = until_settled(&server).await?;
    let ours = triggers
        .iter()
        .find(|trigger| trigger["function"] == "gone");
    let ours = ours.context("the trigger of the bucket")?;
    ensure!(ours["succeeded"] == old, "{ours:#}");
    Ok(())
}

/// Gives the bucket a rule by which every old object that is there may go at once.
async fn expire(s3: &aws_sdk_s3::Client) -> Result<()> {
    let long_ago = DateTime::from_secs(1_577_836_800);
    let rule = LifecycleRule::builder()
        .id("old ones")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("old/").build())
        .expiration(LifecycleExpiration::builder().date(long_ago).build())
        .build()?;
    let rules = BucketLifecycleConfiguration::builder()
        .rules(rule)
        .build()?;
    let put = s3.put_bucket_lifecycle_configuration().bucket("data");
    put.lifecycle_configuration(rules).send().await?;
    Ok(())
}

fn deploy(aws: &Cli<'_>) -> Result<()> {
    let work = tempfile::tempdir()?;
    let code = [("app.py", WANTS_EXPIRATIONS.as_bytes())];
    let zip = zip_file(work.path(), "p.zip", &code)?;
    aws.create_function(
        "gone",
        ("python3.11", "app.handler"),
        &zip,
        &["--timeout", "30"],
    )?;
    aws.run(&["s3", "mb", "s3://data"])?;
    aws.notify("data", "gone", &["s3:LifecycleExpiration:*"])
}
