//! Nodes that stand still, brokers that die: what was settled is settled once.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use event::Record;
use event_log::{
    CheckpointUpdate, ConsumerId, Error, EventLog, KafkaLog, Lifetime, Offset, RecordBatch, Rule,
    Settlement, Share, SharedLog, Topic, TopicConfig, TopicName, TopicPartition,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::node::OnKafka;

const CONSUMER: &str = "counter";
const PARTITIONS: u32 = 16;
const CHILD: &str = "TIDEMILL_TEST_LOG_CHILD";

async fn numbers(log: &KafkaLog) -> Topic {
    let name = TopicName::new("numbers").expect("a legal name");
    let log: &dyn EventLog = log;
    let config = TopicConfig::new(PARTITIONS, Lifetime::Events);
    log.ensure_topic(&name, config).await.expect("made")
}

/// One more for a partition: a record with its number, and the checkpoint behind it.
fn step(place: &TopicPartition, revision: u64) -> Settlement {
    let value = (revision + 1).to_string();
    Settlement {
        checkpoints: vec![CheckpointUpdate {
            consumer: ConsumerId::new(CONSUMER),
            partition: place.clone(),
            next: Offset::new(revision + 1),
            finished_above: Vec::new(),
            metadata: Bytes::new(),
            rule: Rule::Advance {
                expected_revision: revision,
            },
        }],
        ..Settlement::of(
            place.clone(),
            RecordBatch::of_one(Record::new(value, Timestamp::from_millis(1_000))),
        )
    }
}

/// Counts every partition up wherever this node holds it, until `until`. Returns, by partition, the
/// last number that was acknowledged here.
async fn count(log: Arc<KafkaLog>, until: Instant) -> HashMap<TopicPartition, u64> {
    let topic = numbers(&log).await;
    let mut counters = tokio::task::JoinSet::new();
    for place in topic.partitions() {
        let log: SharedLog = log.clone();
        counters.spawn(async move {
            let consumer = ConsumerId::new(CONSUMER);
            let mut acknowledged = 0;
            let mut share = log.share();
            while Instant::now() < until {
                let held = share.wait_for(|share| share.holds(&consumer, &place));
                let held = tokio::time::timeout_at(until, held)
                    .await
                    .map(|it| it.map(|_| ()));
                if held.is_err() {
                    break;
                }
                let checkpoint = log.checkpoint(&consumer, &place);
                let revision = checkpoint.map_or(0, |checkpoint| checkpoint.revision);
                match log.commit(step(&place, revision)).await {
                    Ok(_) => acknowledged = revision + 1,
                    Err(Error::NotHeld { .. } | Error::CheckpointConflict { .. }) => {}
                    Err(Error::Closed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            (place, acknowledged)
        });
    }
    counters.join_all().await.into_iter().collect()
}

/// Every partition holds every number once, in order, and its checkpoint is the last.
async fn check(log: &KafkaLog) -> HashMap<TopicPartition, u64> {
    let topic = numbers(log).await;
    let mut share = log.share();
    share
        .wait_for(|share| *share == Share::all())
        .await
        .expect("the log is open");
    let mut counted = HashMap::new();
    for place in topic.partitions() {
        let bounds = log.bounds(&place).expect("exists");
        let (mut next, mut found) = (bounds.start, Vec::new());
        while next < bounds.end {
            let chunk = log.read(&place, next, 1 << 20).await.expect("readable");
            for batch in &chunk.batches {
                for stored in batch.records().expect("ours") {
                    let value = stored.record.value.expect("a value");
                    let value = std::str::from_utf8(&value).expect("text").parse::<u64>();
                    found.push(value.expect("a number"));
                }
            }
            next = chunk.next;
        }
        let last = found.len() as u64;
        assert_eq!(found, (1..=last).collect::<Vec<_>>(), "{place}");
        let checkpoint = log.checkpoint(&ConsumerId::new(CONSUMER), &place);
        assert_eq!(checkpoint.map_or(0, |it| it.revision), last, "{place}");
        counted.insert(place, last);
    }
    counted
}

/// A node in a process of its own: this test program, told to count.
struct Other(Child);

impl Other {
    fn start(kafka: &OnKafka, node: &str) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let child = Command::new(this)
            .args(["--exact", "faults::child_counts", "--nocapture"])
            .env(
                CHILD,
                format!("{} {} {node}", kafka.bootstrap(), kafka.name()),
            )
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("it starts"))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).expect("it is there");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other node of the tests below; by itself it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_counts() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let told: Vec<_> = told.split(' ').collect();
    let kafka = OnKafka::named(told[0].to_owned(), told[1].to_owned());
    let log = kafka.node(told[2]).await.expect("the log opens");
    count(log, Instant::now() + Duration::from_secs(120)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_node_settles_nothing_that_another_has_taken_over() {
    let Some(kafka) = OnKafka::new() else {
        return;
    };
    let log = kafka.node("here").await.expect("the log opens");
    numbers(&log).await;
    let other = Other::start(&kafka, "there");
    let mut share = log.share();
    let some = |share: &Share| *share != Share::none() && *share != Share::all();
    share.wait_for(some).await.expect("the log is open");
    let counting = |seconds| {
        let until = Instant::now() + Duration::from_secs(seconds);
        tokio::spawn(count(Arc::clone(&log), until))
    };
    counting(3).await.expect("it counts");
    let before = log.checkpoints(&ConsumerId::new(CONSUMER));
    assert!(before.len() > 1, "both nodes count");

    other.signal(Signal::STOP);
    let all = share
        .wait_for(|share| *share == Share::all())
        .await
        .map(|_| ());
    all.expect("its work comes to this node");
    let running = counting(6);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // It wakes up in the middle of a settlement, and believes that it holds what it held.
    other.signal(Signal::CONT);
    let acknowledged = running.await.expect("it counts");
    share
        .wait_for(some)
        .await
        .expect("it comes back into the group");
    counting(3).await.expect("it counts");
    drop(other);
    let counted = check(&log).await;
    for (place, last) in acknowledged {
        assert!(counted[&place] >= last, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_work_goes_on_where_it_was() {
    let Some(kafka) = OnKafka::new() else {
        return;
    };
    let log = kafka.node("here").await.expect("the log opens");
    numbers(&log).await;
    let mut share = log.share();
    for round in 0..2 {
        let other = Other::start(&kafka, &format!("there-{round}"));
        let some = |share: &Share| *share != Share::none() && *share != Share::all();
        share.wait_for(some).await.expect("the log is open");
        let until = Instant::now() + Duration::from_secs(2);
        count(Arc::clone(&log), until).await;
        other.signal(Signal::KILL);
        let all = share
            .wait_for(|share| *share == Share::all())
            .await
            .map(|_| ());
        all.expect("its work comes to this node");
    }
    let counted = check(&log).await;
    assert!(
        counted.values().all(|last| *last > 0),
        "every partition is counted"
    );
}
