//! What it costs to find out what is different in a store of a million objects.
//!
//! The store is made up as it is listed, so that time and memory are those of the comparison: hashing,
//! looking up, reading the manifest. What a real store takes to list itself comes on top, and is by far
//! the most: a thousand requests for a million keys. The log is an embedded one on the disk.
//!
//! Memory is what the process has grown by at its highest, the log's own buffers included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clock::{SystemClock, Timestamp};
use connector::{Runner, Settings};
use connector_object_store::{Config, Listed, Listing, ObjectStoreSource};
use event_log::{EmbeddedConfig, EmbeddedLog, SharedLog, TopicName, TopicPartition};
use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;

use crate::table::{Table, time};

const OBJECTS: u64 = 1_000_000;
/// What is different at each change: so many new ones, as many replaced, as many gone.
const DIFFERENT: u64 = 1_000;

/// A store of so many objects, in the state of so many changes.
#[derive(Debug, Default)]
struct Imagined {
    changes: AtomicU64,
    listed: AtomicU64,
}

impl Imagined {
    fn object(number: u64, changes: u64) -> Listed {
        // Every change replaces the objects of one stretch, so that none is as it was before.
        let state = changes * u64::from((OBJECTS / 2..OBJECTS / 2 + DIFFERENT).contains(&number));
        Listed {
            key: format!(
                "measurements/plant-{:03}/line-{:02}/{number:012}.parquet",
                number / 4_096,
                number % 16
            ),
            modified: Timestamp::default(),
            size: 4_096 + state,
            etag: Some(format!(
                "\"{:032x}\"",
                u128::from(number) << 64 | u128::from(state)
            )),
        }
    }
}

#[async_trait::async_trait]
impl Listing for Imagined {
    fn all(&self, _prefix: Option<&str>) -> BoxStream<'static, object_store::Result<Listed>> {
        let changes = self.changes.load(Ordering::Relaxed);
        self.listed.fetch_add(1, Ordering::Relaxed);
        let from = changes * DIFFERENT;
        stream::iter(from..from + OBJECTS)
            .map(move |number| Ok(Self::object(number, changes)))
            .boxed()
    }

    async fn one(&self, _key: &str) -> object_store::Result<Option<Listed>> {
        Ok(None)
    }
}

/// A source at work.
struct Reading {
    wake_up: mpsc::UnboundedSender<()>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), connector::Error>>,
}

/// Measures the first pass, a pass that finds nothing, one that finds something, and a start.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = EmbeddedConfig::new(folder.path().join("log"));
    let log: SharedLog = EmbeddedLog::open(config, Arc::new(SystemClock::new()))?;
    let store = Arc::new(Imagined::default());
    let keys = format!("{OBJECTS} keys of 50 bytes");
    let mut row = |what: &str, taken: Duration, grown: u64| {
        let grown = format!("{} MiB at most", grown >> 20);
        table.row(what, &keys, time(taken), grown);
    };

    let before = memory("VmRSS")?;
    reset_peak()?;
    let begun = Instant::now();
    let reading = Reading::start(&store, &log)?;
    events(&log, OBJECTS).await?;
    row(
        "first listing, all told",
        begun.elapsed(),
        peak_since(before)?,
    );

    // The next pass ends before the one after it begins.
    reset_peak()?;
    let begun = Instant::now();
    reading.pass(&store).await?;
    reading.pass(&store).await?;
    row(
        "listing that finds nothing",
        begun.elapsed(),
        peak_since(before)?,
    );

    reset_peak()?;
    store.changes.store(1, Ordering::Relaxed);
    let begun = Instant::now();
    reading.wake_up.unbounded_send(())?;
    events(&log, OBJECTS + 3 * DIFFERENT).await?;
    let what = format!("listing that finds {DIFFERENT} each new, replaced, gone");
    row(&what, begun.elapsed(), peak_since(before)?);
    reading.end().await?;

    // What the source before has given back is used again: the figure is what comes on top.
    let before = memory("VmRSS")?;
    reset_peak()?;
    let listed = store.listed.load(Ordering::Relaxed);
    let begun = Instant::now();
    let reading = Reading::start(&store, &log)?;
    while store.listed.load(Ordering::Relaxed) == listed {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    row(
        "manifest read at a start",
        begun.elapsed(),
        peak_since(before)?,
    );
    reading.end().await
}

impl Reading {
    fn start(store: &Arc<Imagined>, log: &SharedLog) -> Result<Self> {
        let (wake_up, woken) = mpsc::unbounded();
        let config = Config {
            bucket: "measured".to_owned(),
            prefix: None,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            partitions: 1,
        };
        let clock = Arc::new(SystemClock::new());
        let listing: Arc<dyn Listing> = store.clone();
        let source = ObjectStoreSource::new(listing, woken.boxed(), clock.clone(), config)?;
        let runner = Runner::new(
            Box::new(source),
            Arc::clone(log),
            clock,
            Settings::default(),
        );
        let stop = CancellationToken::new();
        Ok(Self {
            wake_up,
            task: tokio::spawn(runner.run(stop.clone())),
            stop,
        })
    }

    /// Asks for a pass and waits until it has begun: then the one before it has ended.
    async fn pass(&self, store: &Imagined) -> Result<()> {
        let listed = store.listed.load(Ordering::Relaxed);
        self.wake_up.unbounded_send(())?;
        while store.listed.load(Ordering::Relaxed) == listed {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await??)
    }
}

async fn events(log: &SharedLog, count: u64) -> Result<()> {
    let topic = TopicName::new("bucket.measured")?;
    let mut topics = log.topics_changed();
    while log.topic(&topic).is_none() {
        topics.changed().await?;
    }
    let topic = log.topic(&topic).context("the topic")?;
    let place: TopicPartition = topic.partitions().next().context("a partition")?;
    let mut tail = log.tail(&place)?;
    tail.wait_for(|end| end.get() >= count).await?;
    ensure!(log.bounds(&place)?.end.get() == count, "too many events");
    Ok(())
}

/// A line of the process's status, in bytes.
fn memory(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("{name} in the process's status"))?;
    let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    Ok(kib.parse::<u64>()? << 10)
}

/// Has the highest memory counted anew.
fn reset_peak() -> Result<()> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

fn peak_since(before: u64) -> Result<u64> {
    Ok(memory("VmHWM")?.saturating_sub(before))
}
