//! A topic of another cluster, copied by nodes of which every two seconds one is killed, stopped or paused,
//! or joins again.
//!
//! Each change moves shards, and with them the partitions' readers: from a node that hands them over, from
//! one that is gone without a word, and from one that has not noticed yet. Takes about a minute, for
//! half of which records flow.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;
use tests::{
    Brokers, Consumed, ForeignStore, Server, consume_all, create_topic, eventually, producer, skip,
};
use tokio::time::Instant;

use crate::{ALONE, NODES, PARTITIONS, settings};

/// `TIDEMILL_STORM_RECORDS` sets another number.
const RECORDS: u64 = 10_000;
/// So many in one go, and how long after that the next: 300 a second outlast some dozen changes.
const BURST: u64 = 60;
const LULL: Duration = Duration::from_millis(200);
/// From one change to the next.
const CALM: Duration = Duration::from_secs(2);
const THEIRS: &str = "readings";
const OURS: &str = "kafka.storm.readings";

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Killed,
    Stopped,
    /// It stands still where it is, and does not know that others take over from it.
    Paused,
    Joined,
    /// It goes on where it stood.
    Resumed,
}

/// How nodes are taken away, in turn.
const LOSSES: [Change; 3] = [Change::Killed, Change::Stopped, Change::Paused];

/// Whether a node works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Paused,
}

/// The same storm each time: a linear congruential sequence.
struct Weather(u64);

impl Weather {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % count
    }
}

/// The nodes, and which of them work.
struct Fleet {
    nodes: Vec<Server>,
    states: Vec<State>,
    changes: Vec<Change>,
}

impl Fleet {
    /// Changes one node, and leaves at least one at work.
    fn change(&mut self, weather: &mut Weather) -> Result<()> {
        let at_work = self.states.iter().filter(|it| **it == State::Up).count();
        let candidates: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.states[*node] != State::Up || at_work > 1)
            .collect();
        let node = candidates[weather.below(candidates.len())];
        if self.states[node] != State::Up {
            return self.bring_back(node);
        }
        let losses = self.changes.iter().filter(|it| LOSSES.contains(it)).count();
        let change = LOSSES[losses % LOSSES.len()];
        self.states[node] = State::Down;
        match change {
            Change::Killed => self.nodes[node].kill()?,
            Change::Stopped => drop(self.nodes[node].stop()?),
            Change::Paused | Change::Joined | Change::Resumed => {
                self.nodes[node].pause()?;
                self.states[node] = State::Paused;
            }
        }
        self.changes.push(change);
        Ok(())
    }

    fn bring_back(&mut self, node: usize) -> Result<()> {
        let change = match self.states[node] {
            State::Up => return Ok(()),
            State::Down => {
                self.nodes[node].restart()?;
                Change::Joined
            }
            State::Paused => {
                self.nodes[node].resume()?;
                Change::Resumed
            }
        };
        self.states[node] = State::Up;
        self.changes.push(change);
        Ok(())
    }
}

/// Publishes `records`, each under its number.
async fn publish(producer: FutureProducer, records: u64) -> Result<()> {
    let mut next = Instant::now();
    for first in (0..records).step_by(usize::try_from(BURST)?) {
        let ids: Vec<String> = (first..records.min(first + BURST))
            .map(|id| id.to_string())
            .collect();
        let producer = &producer;
        let sends = ids.iter().map(|id| async move {
            let value = json!({"id": id}).to_string();
            let record = FutureRecord::to(THEIRS).key(id).payload(&value);
            let sent = producer.send(record, Duration::from_secs(30)).await;
            sent.map(drop).map_err(|(error, _)| error)
        });
        for sent in futures::future::join_all(sends).await {
            sent.context("publish")?;
        }
        next += LULL;
        tokio::time::sleep_until(next).await;
    }
    Ok(())
}

/// Key and value.
type Content<'a> = (Option<&'a [u8]>, &'a [u8]);

/// Of each partition.
type Contents<'a> = Vec<Vec<Content<'a>>>;

fn by_partition(records: &[Consumed]) -> Contents<'_> {
    let of = |partition| {
        let records = records.iter().filter(move |it| it.partition == partition);
        records.map(|it| (it.key.as_deref(), &*it.value)).collect()
    };
    (0..PARTITIONS).map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_nodes_copies_every_record_once() -> Result<()> {
    let _alone = ALONE.lock().await;
    let (Some(store), Some(brokers)) = (ForeignStore::find().await?, Brokers::find()?) else {
        skip(
            "storm",
            "there is no Apache Kafka or no S3-compatible store",
        );
        return Ok(());
    };
    let records = match std::env::var("TIDEMILL_STORM_RECORDS") {
        Ok(records) => records.parse().context("TIDEMILL_STORM_RECORDS")?,
        Err(_) => RECORDS,
    };
    brokers.until_whole().await?;
    let work = tempfile::tempdir()?;
    let settings = settings(&brokers, &store, work.path())?;
    let start = || Server::start_node(&brokers.bootstrap(), &settings);
    let mut fleet = Fleet {
        nodes: (0..NODES).map(|_| start()).collect::<Result<_>>()?,
        states: vec![State::Up; NODES],
        changes: Vec::new(),
    };
    create_topic(&brokers.bootstrap(), THEIRS, PARTITIONS, 3).await?;
    let bootstrap = brokers.bootstrap();
    let add = ["connector", "add", "kafka", "--name", "storm"];
    let what = ["--bootstrap", &bootstrap, "--topics", THEIRS];
    let soon = ["--stalled-seconds", "5"];
    fleet.nodes[0].tidemill(&[&add[..], &what, &soon].concat())?;

    let begun = Instant::now();
    let publishing = tokio::spawn(publish(producer(&bootstrap)?, records));
    let mut weather = Weather(1);
    while !publishing.is_finished() {
        tokio::time::sleep(CALM).await;
        fleet.change(&mut weather)?;
    }
    publishing.await??;
    let during = consume_all(&bootstrap, OURS)?.len();
    let storm = begun.elapsed();
    for node in 0..NODES {
        fleet.bring_back(node)?;
    }
    let copied = eventually("everything is copied", async || {
        let copied = consume_all(&bootstrap, OURS)?;
        Ok((copied.len() as u64 >= records).then_some(copied))
    })
    .await?;
    let published = consume_all(&bootstrap, THEIRS)?;
    assert_eq!(published.len() as u64, records);
    for (partition, (copied, published)) in by_partition(&copied)
        .iter()
        .zip(by_partition(&published))
        .enumerate()
    {
        let differs = copied.iter().zip(&published).position(|(a, b)| a != b);
        ensure!(
            differs.is_none() && copied.len() == published.len(),
            "partition {partition}: {} of {} records, the first that differs: {differs:?}",
            copied.len(),
            published.len()
        );
    }
    let count = |change| fleet.changes.iter().filter(|it| **it == change).count();
    let lost = LOSSES.map(|change| (change, count(change)));
    eprintln!(
        "{records} records, {during} of them copied within the {storm:?} of the storm; nodes lost: {lost:?}"
    );
    for (_, count) in lost {
        ensure!(count >= 1, "no storm: {:?}", fleet.changes);
    }
    Ok(())
}
