//! Settlements of the log on Apache Kafka beside a plain transactional producer that writes the
//! same: a record of 256 bytes, a record for the checkpoint, an offset.
//!
//! The plain producer has as many such sets in one transaction as the log has settlements waiting,
//! so it shows what the cluster gives; rounds alternate, and a ratio is the median of theirs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use clock::{SystemClock, Timestamp};
use event::Record;
use event_log::{
    CheckpointUpdate, ConsumerId, EventLog, KafkaConfig, KafkaLog, Lifetime, Offset, RecordBatch,
    Rule, Settlement, Share, SharedLog, TopicConfig, TopicName, TopicPartition,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset as At, TopicPartitionList};

use crate::table::{Table, median, percentile, time};

const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
const PARTITIONS: u32 = 16;
const RECORD_BYTES: usize = 256;

/// Rate and sorted times of one round.
struct Round {
    rate: f64,
    times: Vec<Duration>,
}

/// Measures one writer and many.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let bootstrap =
        std::env::var("TIDEMILL_TEST_KAFKA").context("TIDEMILL_TEST_KAFKA is not set")?;
    let cluster = format!("bench-{}", std::process::id());
    let config = KafkaConfig {
        topic_prefix: format!("{cluster}-"),
        cluster,
        ..KafkaConfig::new(&bootstrap)
    };
    let prefix = config.topic_prefix.clone();
    let log = KafkaLog::open(config, Arc::new(SystemClock::new())).await?;
    let name = TopicName::new("out")?;
    let topic = log
        .create_topic(&name, TopicConfig::new(PARTITIONS, Lifetime::Events))
        .await?;
    log.share().wait_for(|share| *share == Share::all()).await?;
    let places: Vec<TopicPartition> = topic.partitions().collect();
    for writers in [1, 256] {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for turn in 0..ROUNDS {
            let log: SharedLog = log.clone();
            ours.push(settle(&log, &places, writers, turn).await?);
            let (bootstrap, out) = (bootstrap.clone(), format!("{prefix}out"));
            let round = move || transact(&bootstrap, &out, writers);
            plain.push(tokio::task::spawn_blocking(round).await??);
        }
        report(table, writers, &ours, &plain);
    }
    log.close().await;
    Ok(())
}

async fn settle(
    log: &SharedLog,
    places: &[TopicPartition],
    writers: usize,
    turn: usize,
) -> Result<Round> {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let log = SharedLog::clone(log);
        let place = places[writer % places.len()].clone();
        let consumer = ConsumerId::new(format!("writer-{writers}-{turn}-{writer}"));
        tasks.spawn(async move {
            let mut times = Vec::new();
            let mut revision = 0;
            while begun.elapsed() < SPAN {
                let at = Instant::now();
                let now = Timestamp::from_millis(1_790_000_000_000);
                let record = Record::new(vec![b'x'; RECORD_BYTES], now);
                let settlement = Settlement {
                    checkpoints: vec![CheckpointUpdate {
                        consumer: consumer.clone(),
                        partition: place.clone(),
                        next: Offset::new(revision),
                        finished_above: Vec::new(),
                        metadata: Bytes::new(),
                        rule: Rule::Advance {
                            expected_revision: revision,
                        },
                    }],
                    ..Settlement::of(place.clone(), RecordBatch::of_one(record))
                };
                log.commit(settlement).await?;
                revision += 1;
                times.push(at.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok(Round::of(times, begun.elapsed()))
}

/// The same records in plain transactions of `sets` sets each.
fn transact(bootstrap: &str, out: &str, sets: usize) -> Result<Round> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", format!("{out}-plain"))
        .set("linger.ms", "0")
        .create()?;
    producer.init_transactions(PATIENCE)?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{out}-plain"))
        .create()?;
    let group = consumer.group_metadata().context("there is a group")?;
    let value = vec![b'x'; RECORD_BYTES];
    let checkpoint = vec![b'c'; 160];
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < SPAN {
        let at = Instant::now();
        producer.begin_transaction()?;
        let mut offsets = TopicPartitionList::new();
        for set in 0..sets {
            let partition = i32::try_from(set % PARTITIONS as usize)?;
            let record = |value| {
                BaseRecord::to(out)
                    .partition(partition)
                    .key("k")
                    .payload(value)
            };
            for value in [&value, &checkpoint] {
                producer.send(record(value)).map_err(|(error, _)| error)?;
            }
            if set < PARTITIONS as usize {
                offsets.add_partition_offset(out, partition, At::Offset(0))?;
            }
        }
        // `flush` looks ten times a second.
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        producer.send_offsets_to_transaction(&offsets, &group, PATIENCE)?;
        producer.commit_transaction(PATIENCE)?;
        times.extend(std::iter::repeat_n(at.elapsed(), sets));
    }
    Ok(Round::of(times, begun.elapsed()))
}

impl Round {
    fn of(mut times: Vec<Duration>, span: Duration) -> Self {
        times.sort_unstable();
        Self {
            rate: times.len() as f64 / span.as_secs_f64(),
            times,
        }
    }
}

fn report(table: &mut Table, writers: usize, ours: &[Round], plain: &[Round]) {
    let rates = ours.iter().zip(plain).map(|(a, b)| a.rate / b.rate);
    let ratio = median(rates);
    for (name, rounds) in [("log on Kafka", ours), ("plain transactions", plain)] {
        let at = |percent| {
            let times = rounds
                .iter()
                .map(|it| percentile(&it.times, percent).as_secs_f64());
            time(Duration::from_secs_f64(median(times)))
        };
        table.row(
            &format!("settlements, {name}"),
            &format!("{writers} at a time, 256 B and a checkpoint each"),
            format!(
                "{:.0}/s, p50 {}, p99 {}",
                median(rounds.iter().map(|it| it.rate)),
                at(50),
                at(99)
            ),
            format!("the log has {ratio:.2} × the rate"),
        );
    }
}
