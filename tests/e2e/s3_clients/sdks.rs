//! AWS's SDKs for JavaScript, Java and Go: one script each, all with the same changes.

use std::process::Command;

use anyhow::{Context as _, Result};
use tests::repository;

use super::{Deed, Stage, variables};

const AWKWARD: [&str; 4] = ["a b+c%d.txt", "ünï/日本/🦀", "a//b", "q'\"<&>?#;=@"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_for_javascript_goes_through_the_story() -> Result<()> {
    let test = "the_sdk_for_javascript_goes_through_the_story";
    let needed = ["TIDEMILL_TEST_NODE", "TIDEMILL_TEST_AWS_SDK_JS"];
    let Some([node, modules]) = variables(test, needed) else {
        return Ok(());
    };
    let mut script = Command::new("timeout");
    script.arg("120").arg(node).env("NODE_PATH", modules);
    goes_through_the_story(test, script.arg(source("javascript.js"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_for_java_goes_through_the_story() -> Result<()> {
    let test = "the_sdk_for_java_goes_through_the_story";
    let needed = ["TIDEMILL_TEST_JAVA", "TIDEMILL_TEST_AWS_SDK_JAVA"];
    let Some([java, jars]) = variables(test, needed) else {
        return Ok(());
    };
    let mut script = Command::new("timeout");
    script
        .arg("120")
        .arg(java)
        .args(["-cp", &format!("{jars}/*")]);
    goes_through_the_story(test, script.arg(source("Story.java"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_for_go_goes_through_the_story() -> Result<()> {
    let test = "the_sdk_for_go_goes_through_the_story";
    let Some([program]) = variables(test, ["TIDEMILL_TEST_AWS_SDK_GO"]) else {
        return Ok(());
    };
    goes_through_the_story(test, Command::new("timeout").arg("120").arg(program)).await
}

async fn goes_through_the_story(test: &str, script: &mut Command) -> Result<()> {
    let Some(stage) = Stage::set(test)? else {
        return Ok(());
    };
    stage.run(script).context("the story")?;
    stage.saw_exactly(story()).await
}

/// What the scripts change in the bucket.
fn story() -> Vec<Deed> {
    let length = |key: &str| u64::try_from(key.len()).expect("a short key");
    let numbers = (0..25).map(|n| format!("list/{}/{n}", n / 10));
    let numbers: Vec<String> = numbers.collect();
    let named: Vec<&str> = numbers.iter().map(String::as_str).chain(AWKWARD).collect();
    let mut deeds = vec![
        Deed::put("plain.txt", 5),
        Deed::put("empty", 0),
        Deed::put("file", 70_000),
        Deed::put("streamed", 300_000),
        Deed::completed("large", (12 << 20) + 3),
        Deed::put("once", 1),
        Deed::copied("copy of 日本", length(AWKWARD[0])),
        Deed::tagged("Put", "plain.txt"),
        Deed::tagged("Delete", "plain.txt"),
        Deed::put("by link", 6),
        Deed::deleted("empty"),
    ];
    deeds.extend(named.iter().map(|key| Deed::put(key, length(key))));
    deeds.extend(named.iter().map(|key| Deed::deleted(key)));
    deeds
}

fn source(name: &str) -> std::path::PathBuf {
    repository().join("tests/e2e/scripts/s3").join(name)
}
