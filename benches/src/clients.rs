//! The same Kafka client against our port and against Apache Kafka: throughput, the way of a record
//! from producer to consumer, and transactions.
//!
//! Rounds alternate between the servers; a ratio is the median of the rounds' ratios. Ours syncs
//! every write before it acknowledges it; Kafka, as it comes, does not.
//!
//! The consumer has room for a whole round. As it comes, librdkafka rests for a second
//! (`fetch.queue.backoff.ms`) each time it holds 100,000 records that were not asked for yet
//! (`queued.min.messages`), whichever server sent them: what was measured then was how often it rested.

mod transactions;

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use tests::Server;

use crate::table::{Table, median, percentile, time};

const ROUNDS: usize = 3;
const RECORDS: usize = 300_000;
/// Records that go one at a time.
const SINGLES: usize = 2_000;
/// How long half the load lasts.
const SPAN: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// What one round on one server gave.
struct Round {
    produced: f64,
    consumed: f64,
    /// From `send` to the consumer's `poll`, nothing else under way. Sorted.
    alone: Vec<Duration>,
    /// From `send` to the acknowledgement, at half the rate of `produced`. Sorted.
    half: Vec<Duration>,
}

/// Measures both servers.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let server = Server::start()?;
    let kafka = env::var("TIDEMILL_TEST_KAFKA").context("TIDEMILL_TEST_KAFKA is not set")?;
    for bytes in [100, 1_024] {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for turn in 0..ROUNDS {
            let topic = format!("clients-{bytes}-{turn}");
            ours.push(tokio::task::block_in_place(|| {
                round(&server.bootstrap(), &topic, bytes)
            })?);
            theirs.push(tokio::task::block_in_place(|| {
                round(&kafka, &topic, bytes)
            })?);
        }
        report(table, bytes, &ours, &theirs);
    }
    tokio::task::block_in_place(|| transactions::run(table, &server.bootstrap(), &kafka))
}

fn report(table: &mut Table, bytes: usize, ours: &[Round], theirs: &[Round]) {
    let conditions = format!("{RECORDS} records of {bytes} B, one client");
    let megabytes =
        |rate: f64| format!("{rate:.0} records/s, {:.0} MB/s", rate * bytes as f64 / 1e6);
    let mut rates = |what: &str, rate: fn(&Round) -> f64| {
        for (name, rounds) in [("tidemill", ours), ("Apache Kafka", theirs)] {
            let middle = median(rounds.iter().map(rate));
            let ratio = median(ours.iter().zip(rounds).map(|(a, b)| rate(a) / rate(b)));
            table.row(
                &format!("{what}, {name}"),
                &conditions,
                megabytes(middle),
                format!("ours is {ratio:.2} × as fast"),
            );
        }
    };
    rates("produce", |round| round.produced);
    rates("consume", |round| round.consumed);
    let mut waits = |what: &str, times: fn(&Round) -> &[Duration]| {
        for (name, rounds) in [("tidemill", ours), ("Apache Kafka", theirs)] {
            let at = |round: &Round, percent| percentile(times(round), percent).as_secs_f64();
            let [p50, p99] = [50, 99].map(|percent| {
                let middle = median(rounds.iter().map(|round| at(round, percent)));
                time(Duration::from_secs_f64(middle))
            });
            let ratio = median(ours.iter().zip(rounds).map(|(a, b)| at(b, 50) / at(a, 50)));
            table.row(
                &format!("{what}, {name}"),
                &format!("records of {bytes} B"),
                format!("p50 {p50}, p99 {p99}"),
                format!("ours is {ratio:.2} × as quick"),
            );
        }
    };
    waits("produce to consume, one at a time", |round| &round.alone);
    waits("acknowledged at half load", |round| &round.half);
}

/// Collects what the client is told of its deliveries.
#[derive(Default)]
struct Deliveries {
    times: Mutex<Vec<Duration>>,
}

impl rdkafka::ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Instant>) {
        if result.is_ok() {
            self.times.lock().push(sent.elapsed());
        }
    }
}

fn round(bootstrap: &str, topic: &str, bytes: usize) -> Result<Round> {
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(Deliveries::default())?;
    let payload = vec![b'x'; bytes];
    // The topic is made by the first record; that is not what is measured.
    send(&producer, topic, &payload)?;
    producer.flush(PATIENCE)?;

    let begun = Instant::now();
    for _ in 0..RECORDS {
        send(&producer, topic, &payload)?;
    }
    producer.flush(PATIENCE)?;
    let produced = RECORDS as f64 / begun.elapsed().as_secs_f64();
    let delivered = taken(&producer).len();
    ensure!(
        delivered == RECORDS + 1,
        "{delivered} records were delivered"
    );

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "none")
        .set("fetch.wait.max.ms", "500")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "2000000")
        .create()?;
    let partitions = everywhere(&consumer, topic)?;
    consumer.assign(&partitions)?;
    let begun = Instant::now();
    for _ in 0..=RECORDS {
        next(&consumer)?;
    }
    let consumed = RECORDS as f64 / begun.elapsed().as_secs_f64();

    let mut alone = Vec::with_capacity(SINGLES);
    for _ in 0..SINGLES {
        let begun = Instant::now();
        // Not flushed: that looks for deliveries every 100 ms only.
        send(&producer, topic, &payload)?;
        let message = next(&consumer)?;
        ensure!(message.payload_len() == bytes, "another record came");
        alone.push(begun.elapsed());
    }
    alone.sort_unstable();
    producer.flush(PATIENCE)?;
    taken(&producer);

    let pause = Duration::from_secs_f64(2.0 / produced);
    let begun = Instant::now();
    let mut due = Duration::ZERO;
    while due < SPAN {
        while begun.elapsed() < due {
            producer.poll(Duration::ZERO);
        }
        send(&producer, topic, &payload)?;
        due += pause;
    }
    producer.flush(PATIENCE)?;
    let mut half = taken(&producer);
    half.sort_unstable();
    Ok(Round {
        produced,
        consumed,
        alone,
        half,
    })
}

fn taken(producer: &BaseProducer<Deliveries>) -> Vec<Duration> {
    std::mem::take(&mut *producer.context().times.lock())
}

/// Queues a record, waiting while the queue is full.
fn send(producer: &BaseProducer<Deliveries>, topic: &str, payload: &[u8]) -> Result<()> {
    let mut record =
        BaseRecord::<(), _, _>::with_opaque_to(topic, Box::new(Instant::now())).payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Timeout::After(Duration::from_millis(1)));
            }
            Err((error, _)) => return Err(error).context("queue a record"),
        }
    }
}

/// The next record. One poll may end early with nothing: the client had something else to do.
fn next(consumer: &BaseConsumer) -> Result<BorrowedMessage<'_>> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(message) = consumer.poll(PATIENCE) {
            return Ok(message?);
        }
    }
    bail!("a record is missing")
}

fn everywhere(consumer: &BaseConsumer, topic: &str) -> Result<TopicPartitionList> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let topics = metadata.topics();
    let mut partitions = TopicPartitionList::new();
    for partition in topics.first().context("the topic")?.partitions() {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    Ok(partitions)
}
