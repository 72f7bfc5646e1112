//! Notifications that another store sends to a queue.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Line, Moto, Server, eventually, program, repository, skip, topic_lines};

use super::{SECRET, expect_no_secret, status, until};

/// A bucket of moto's that notifies a queue of moto's.
struct Store {
    moto: Moto,
    python: std::path::PathBuf,
}

impl Store {
    fn act(&self, acts: &[&str]) -> Result<String> {
        let script = repository().join("tests/e2e/scripts/queue_notifications.py");
        let mut command = Command::new(&self.python);
        let command = command.arg(script).arg(self.moto.endpoint()).args(acts);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{acts:?}: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What it holds: entity tags by key.
    fn listed(&self) -> Result<BTreeMap<String, String>> {
        Ok(serde_json::from_str(&self.act(&["listed"])?)?)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What was told of each key, in order.
fn told(lines: &[Line]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut told: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in lines {
        let object = &line.value["s3"]["object"];
        let key = text(&object["key"]).replace("%2B", "\t").replace('+', " ");
        let said = (text(&line.value["eventName"]), text(&object["eTag"]));
        told.entry(key.replace('\t', "+")).or_default().push(said);
    }
    told
}

fn key(id: u32) -> String {
    format!("in/a b+{id}.csv")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_queue_tells_of_is_seen_at_once_and_told_exactly_whatever_crashes() -> Result<()> {
    let Some(moto) = Moto::find()? else {
        skip("connectors", "there is no server that speaks SQS");
        return Ok(());
    };
    let python = program("TIDEMILL_TEST_PYTHON", "python3").context("Python")?;
    let store = Store { moto, python };
    let url = store.act(&["create", "put:0:2"])?;
    let work = tempfile::tempdir()?;
    let keys = work.path().join("keys");
    let keys_text =
        format!("[default]\naws_access_key_id = tidemill-test\naws_secret_access_key = {SECRET}\n");
    std::fs::write(&keys, keys_text)?;
    let keys = keys.display().to_string();
    let mut server = Server::start()?;
    // Listed once a day, so that nothing but a notification tells of what comes after the beginning.
    let add = |name: &str, bucket: &str, queue: &str| {
        let add = ["connector", "add", "s3", "--name", name, "--bucket", bucket];
        let how = ["--endpoint", store.moto.endpoint(), "--credentials", &keys];
        let when = ["--interval-seconds", "86400", "--partitions", "1"];
        let hints = ["--notification-queue", queue];
        server.tidemill(&[&add[..], &how, &when, &hints].concat())
    };
    add("told", "told", &url)?;
    add("unheard", "other", &format!("{url}-nowhere"))?;
    let events = async |server: &Server, wanted: usize| {
        eventually(&format!("{wanted} events are there"), async || {
            let lines = topic_lines(server, "bucket.told").unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    events(&server, 2).await?;

    let mut wanted = 2;
    for round in 1..=2 {
        let (from, to) = (round * 20, round * 20 + 10);
        // A listing is over by now: these are seen because the queue says so.
        store.act(&["repeat", "foreign", &format!("put:{from}:{to}"), "repeat"])?;
        wanted += 10;
        events(&server, wanted).await?;
        store.act(&[&format!("replace:{from}:{}", from + 2)])?;
        store.act(&[&format!("remove:{}:{}", from + 2, from + 4)])?;
        wanted += 4;
        events(&server, wanted).await?;
        // What is lost is found when it is listed, and what the queue holds then says nothing new.
        store.act(&[&format!("put:{to}:{}", to + 3)])?;
        server.kill()?;
        let (lost, removed) = (to + 5, to + 7);
        store.act(&[
            &format!("lose:{lost}:{removed}"),
            &format!("remove:{from}:{}", from + 1),
        ])?;
        server.restart()?;
        wanted += 3 + 2 + 1;
        events(&server, wanted).await?;
        until(&server, "told", "running").await?;
    }
    store.act(&["put:90:91"])?;
    let lines = events(&server, wanted + 1).await?;
    let told = told(&lines);
    let listed = store.listed()?;
    let last: BTreeMap<String, String> = told
        .iter()
        .filter_map(|(key, said)| Some((key, said.last()?)))
        .filter(|(_, (act, _))| act == "ObjectCreated:Put")
        .map(|(key, (_, etag))| (key.clone(), etag.clone()))
        .collect();
    ensure!(last == listed, "told: {told:?}\nlisted: {listed:?}");
    let (created, removed) = ("ObjectCreated:Put", "ObjectRemoved:Delete");
    for (told_key, said) in &told {
        let acts: Vec<&str> = said.iter().map(|(act, _)| act.as_str()).collect();
        let of = |ids: [u32; 2]| ids.map(key).contains(told_key);
        let exactly: &[&str] = match () {
            () if of([20, 40]) => &[created, created, removed],
            () if of([21, 41]) => &[created, created],
            () if of([22, 42]) || of([23, 43]) => &[created, removed],
            () => &[created],
        };
        ensure!(acts == exactly, "{told_key}: {said:?}");
    }

    // What is no notification of the bucket stays: in each round one of another bucket's and two of nobody's.
    eventually("what was heard is deleted", async || {
        Ok((store.act(&["left"])? == "6").then_some(()))
    })
    .await?;
    let report = status(&server, "told")?;
    ensure!(
        report["hints"]["from"] == format!("queue {url}"),
        "{report}"
    );
    ensure!(report["hints"]["error"].is_null(), "{report}");
    ensure!(report["hints"]["refused"].as_u64() >= Some(3), "{report}");
    let report = until(&server, "unheard", "running").await?;
    let why = text(&report["hints"]["error"]);
    ensure!(
        why.contains("The specified queue does not exist"),
        "{report}"
    );
    let shown = server.tidemill(&["connector", "status", "unheard"])?;
    ensure!(shown.contains("changes are found by listing"), "{shown}");
    expect_no_secret(&server, SECRET)
}
