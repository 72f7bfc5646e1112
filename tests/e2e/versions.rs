//! A versioned bucket whose server is killed in the midst of writes and deletions: what it lists is what
//! its events say, and nothing that was acknowledged is missing or still there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use futures::future::join_all;
use serde_json::Value;
use tests::{Cli, Server, skip, until_settled, zip_file};
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "versions";
/// Writers, each with keys of its own.
const WRITERS: usize = 6;
/// Milliseconds from a start to the next kill.
const LIVES: [u64; 4] = [300, 900, 150, 600];
const TOUCH: &str = "def handler(event, context):\n    return len(event['Records'])\n";

/// What a writer knows of its own work.
#[derive(Debug, Default)]
struct Work {
    /// Acknowledged objects by version id, and how many bytes they have.
    written: BTreeMap<String, usize>,
    /// Acknowledged delete markers.
    marked: BTreeSet<String>,
    /// Versions whose removal was acknowledged.
    removed: BTreeSet<String>,
    /// Versions whose removal was asked for.
    doomed: BTreeSet<String>,
    /// Writes and deletions whose answer was lost.
    unanswered: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_their_events_are_the_same_when_the_server_is_killed() -> Result<()> {
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("versions", "the AWS CLI is not installed");
        return Ok(());
    };
    deploy(&aws)?;
    let s3 = tests::s3(&server)?;
    let stop = CancellationToken::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(work(s3.clone(), writer, stop.clone())))
        .collect();
    for life in LIVES {
        tokio::time::sleep(Duration::from_millis(life)).await;
        server.kill()?;
        server.restart()?;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    let mut all = Work::default();
    for work in join_all(writers).await {
        all.add(work??);
    }
    ensure!(
        !all.written.is_empty() && !all.marked.is_empty() && !all.removed.is_empty(),
        "the writers did nothing"
    );

    let triggers = until_settled(&server).await?;
    let events = changes_in_the_log(&server)?;
    let listed = listed(&s3).await?;
    let told = Told::by(&events)?;
    told.must_be(&listed)?;
    all.must_be_in(&told)?;
    for (id, bytes) in &all.written {
        let Some(version) = listed.get(id) else {
            continue;
        };
        let get = s3.get_object().bucket(BUCKET).key(&version.key);
        let body = get.version_id(id).send().await?.body.collect().await?;
        ensure!(body.to_vec() == content(*bytes), "version {id} is another");
    }
    let ours = triggers.iter().find(|it| it["function"] == "changes");
    let ours = ours.context("the trigger of the bucket")?;
    ensure!(ours["succeeded"] == events.len(), "{ours:#}");
    eprintln!(
        "{} versions written, {} marked, {} removed, {} unanswered; {} are listed",
        all.written.len(),
        all.marked.len(),
        all.removed.len(),
        all.unanswered,
        listed.len()
    );
    Ok(())
}

fn deploy(aws: &Cli<'_>) -> Result<()> {
    let work = tempfile::tempdir()?;
    let code = [("app.py", TOUCH.as_bytes())];
    let zip = zip_file(work.path(), "p.zip", &code)?;
    aws.create_function(
        "changes",
        ("python3.11", "app.handler"),
        &zip,
        &["--timeout", "30"],
    )?;
    aws.run(&["s3", "mb", &format!("s3://{BUCKET}")])?;
    let enabled = ["--versioning-configuration", "Status=Enabled"];
    let put = ["s3api", "put-bucket-versioning", "--bucket", BUCKET];
    aws.run(&[&put[..], &enabled].concat())?;
    let get = aws.run(&["s3api", "get-bucket-versioning", "--bucket", BUCKET])?;
    ensure!(get.contains("Enabled"), "{get}");
    aws.notify(
        BUCKET,
        "changes",
        &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
    )
}

/// Writes, deletes and removes, one after the other, until it is told to stop. What failed is not
/// repeated, so that every event has exactly one cause.
async fn work(s3: Client, writer: usize, stop: CancellationToken) -> Result<Work> {
    let once = || aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::disabled());
    let mut work = Work::default();
    let mut mine: Vec<(String, String)> = Vec::new();
    for number in 0..usize::MAX {
        if stop.is_cancelled() {
            break;
        }
        let key = format!("w{writer}/k{}", number % 3);
        let answered = match number % 7 {
            2 => {
                let delete = s3.delete_object().bucket(BUCKET).key(&key);
                let marker = delete.customize().config_override(once()).send().await;
                marker.is_ok_and(|it| {
                    let id = it.version_id.unwrap_or_default();
                    mine.push((key, id.clone()));
                    work.marked.insert(id)
                })
            }
            4 | 6 if !mine.is_empty() => {
                let (key, id) = mine.swap_remove(number * 7 % mine.len());
                work.doomed.insert(id.clone());
                let remove = s3.delete_object().bucket(BUCKET).key(key).version_id(&id);
                let removed = remove.customize().config_override(once()).send().await;
                removed.is_ok() && work.removed.insert(id)
            }
            _ => {
                let bytes = [100, 5_000, 70_000][number % 3];
                let put = s3.put_object().bucket(BUCKET).key(&key);
                let put = put.body(ByteStream::from(content(bytes))).customize();
                let put = put.config_override(once()).send().await;
                put.is_ok_and(|it| {
                    let id = it.version_id.unwrap_or_default();
                    mine.push((key, id.clone()));
                    work.written.insert(id, bytes).is_none()
                })
            }
        };
        if !answered {
            work.unanswered += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(work)
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * bytes % 251) as u8).collect()
}

/// A version in the list.
#[derive(Debug, PartialEq)]
struct Listed {
    key: String,
    is_latest: bool,
    is_marker: bool,
}

async fn listed(s3: &Client) -> Result<BTreeMap<String, Listed>> {
    let mut listed = BTreeMap::new();
    let mut pages = s3.list_object_versions().bucket(BUCKET).max_keys(100);
    loop {
        let page = pages.clone().send().await?;
        let objects = page.versions().iter();
        let objects = objects.map(|it| (it.key(), it.version_id(), it.is_latest(), false));
        let markers = page.delete_markers().iter();
        let markers = markers.map(|it| (it.key(), it.version_id(), it.is_latest(), true));
        for (key, id, is_latest, is_marker) in objects.chain(markers) {
            let version = Listed {
                key: key.context("a key")?.to_owned(),
                is_latest: is_latest.context("whether it is the latest")?,
                is_marker,
            };
            let twice = listed.insert(id.context("an id")?.to_owned(), version);
            ensure!(twice.is_none(), "listed twice: {twice:?}");
        }
        if page.is_truncated() != Some(true) {
            return Ok(listed);
        }
        pages = pages
            .set_key_marker(page.next_key_marker)
            .set_version_id_marker(page.next_version_id_marker);
    }
}

/// The events of the bucket, in order for each key.
fn changes_in_the_log(server: &Server) -> Result<Vec<Value>> {
    let records = tests::consume_all(&server.bootstrap(), &format!("bucket.{BUCKET}"))?;
    let events = records.iter().filter(|record| !record.value.is_empty());
    let events = events.map(|record| Ok(serde_json::from_slice(&record.value)?));
    events.collect()
}

/// What the events say.
#[derive(Debug, Default)]
struct Told {
    written: BTreeSet<String>,
    marked: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// The versions that there are of each key, the newest last.
    left: BTreeMap<String, Vec<(String, bool)>>,
}

impl Told {
    fn by(events: &[Value]) -> Result<Self> {
        let mut told = Self::default();
        let mut sequencers: BTreeMap<String, String> = BTreeMap::new();
        for event in events {
            let object = &event["s3"]["object"];
            let text = |name: &str| object[name].as_str().map(str::to_owned);
            let key = text("key").context("a key")?.replace("%2F", "/");
            let id = text("versionId").context("a version")?;
            let sequencer = text("sequencer").context("a sequencer")?;
            let last = sequencers.insert(key.clone(), sequencer.clone());
            ensure!(last.is_none_or(|last| last < sequencer), "{event}");
            let left = told.left.entry(key).or_default();
            let once = match event["eventName"].as_str() {
                Some("ObjectCreated:Put") => {
                    left.push((id.clone(), false));
                    told.written.insert(id)
                }
                Some("ObjectRemoved:DeleteMarkerCreated") => {
                    left.push((id.clone(), true));
                    told.marked.insert(id)
                }
                Some("ObjectRemoved:Delete") => {
                    let before = left.len();
                    left.retain(|(other, _)| *other != id);
                    ensure!(left.len() + 1 == before, "removed and never there: {event}");
                    told.removed.insert(id)
                }
                _ => false,
            };
            ensure!(once, "unknown, or told twice: {event}");
        }
        Ok(told)
    }

    /// What is listed is what was told, version by version.
    fn must_be(&self, listed: &BTreeMap<String, Listed>) -> Result<()> {
        let mut told = BTreeMap::new();
        for (key, versions) in &self.left {
            for (at, (id, is_marker)) in versions.iter().enumerate() {
                let version = Listed {
                    key: key.clone(),
                    is_latest: at + 1 == versions.len(),
                    is_marker: *is_marker,
                };
                told.insert(id.clone(), version);
            }
        }
        ensure!(told == *listed, "told {told:#?}\nlisted {listed:#?}");
        let changes = self.written.len() + self.marked.len() - self.removed.len();
        ensure!(changes == listed.len());
        Ok(())
    }
}

impl Work {
    fn add(&mut self, other: Self) {
        self.written.extend(other.written);
        self.marked.extend(other.marked);
        self.removed.extend(other.removed);
        self.doomed.extend(other.doomed);
        self.unanswered += other.unanswered;
    }

    /// Everything acknowledged was told, and what else was told nobody was answered about.
    fn must_be_in(&self, told: &Told) -> Result<()> {
        let written: BTreeSet<String> = self.written.keys().cloned().collect();
        for (acknowledged, told) in [
            (&written, &told.written),
            (&self.marked, &told.marked),
            (&self.removed, &told.removed),
        ] {
            let lost: Vec<_> = acknowledged.difference(told).take(10).collect();
            ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        }
        let invented: Vec<_> = told.removed.difference(&self.doomed).collect();
        ensure!(
            invented.is_empty(),
            "removed and never asked for: {invented:?}"
        );
        let more = told.written.len() + told.marked.len() + told.removed.len()
            - (written.len() + self.marked.len() + self.removed.len());
        ensure!(more <= self.unanswered, "{more} events without a cause");
        Ok(())
    }
}
