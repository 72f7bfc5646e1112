mod recreated;
mod storm;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use clock::{ManualClock, Timestamp};
use connector::{Runner, Settings};
use event::{Header, Record};
use event_log::{MemoryLog, Offset as LogOffset, SharedLog};
use rdkafka::ClientConfig;
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Connection, Start};

/// A cluster to read from and the topic to read, new in each test.
struct Cluster {
    bootstrap_servers: String,
    topic: String,
    producer: FutureProducer,
}

impl Cluster {
    fn at(bootstrap_servers: String) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap_servers)
            .create()
            .unwrap();
        Self {
            bootstrap_servers,
            topic: format!("orders-{}", uuid::Uuid::new_v4()),
            producer,
        }
    }

    /// Apache Kafka, with the topic in so many partitions; counted as skipped where there is none.
    async fn apache(test: &str, partitions: i32) -> Option<Self> {
        let Some(servers) = std::env::var_os("TIDEMILL_TEST_KAFKA") else {
            skip(test);
            return None;
        };
        let cluster = Self::at(servers.into_string().unwrap());
        let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
            .set("bootstrap.servers", &cluster.bootstrap_servers)
            .create()
            .unwrap();
        let replication = rdkafka::admin::TopicReplication::Fixed(1);
        let topic = rdkafka::admin::NewTopic::new(&cluster.topic, partitions, replication);
        let options = rdkafka::admin::AdminOptions::new();
        admin.create_topics([&topic], &options).await.unwrap()[0]
            .as_ref()
            .unwrap();
        Some(cluster)
    }

    async fn send(&self, partition: i32, record: &Record) {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, header| {
                headers.insert(KafkaHeader {
                    key: &header.key,
                    value: header.value.as_deref(),
                })
            });
        let message = FutureRecord {
            topic: &self.topic,
            partition: Some(partition),
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: Some(record.timestamp.as_millis()),
            headers: Some(headers),
        };
        self.producer.send(message, ANSWER).await.unwrap();
    }

    fn source(&self, partition: i32) -> KafkaSource {
        KafkaSource::new(Config {
            connection: Arc::new(Connection {
                name: "shop".to_owned(),
                bootstrap_servers: self.bootstrap_servers.clone(),
                // Clients tell of themselves often, so that nobody has to wait for it.
                properties: BTreeMap::from([(
                    "statistics.interval.ms".to_owned(),
                    "50".to_owned(),
                )]),
            }),
            topic: self.topic.clone(),
            partition,
            start: Start::Earliest,
        })
        .unwrap()
    }

    fn run(&self, log: &SharedLog, partition: i32) -> JoinHandle<Result<(), connector::Error>> {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::default()));
        // Small batches: several settlements even for few records.
        let settings = Settings {
            max_bytes: 64,
            ..Settings::default()
        };
        let source = Box::new(self.source(partition));
        let runner = Runner::new(source, Arc::clone(log), clock, settings);
        tokio::spawn(runner.run(CancellationToken::new()))
    }
}

fn full_record(n: u32) -> Record {
    let mut record = Record::new(
        format!("value {n}"),
        Timestamp::from_millis(1_795_000_000_000),
    )
    .with_key(format!("key {n}"))
    .with_header("trace", "a")
    .with_header("trace", "b");
    record.headers.push(Header {
        key: "empty".to_owned(),
        value: None,
    });
    record
}

/// The records of our copy once there are `count`.
async fn copied(log: &SharedLog, cluster: &Cluster, partition: u32, count: u64) -> Vec<Record> {
    let name = TopicName::new(format!("kafka.shop.{}", cluster.topic)).unwrap();
    let mut topics = log.topics_changed();
    while log.topic(&name).is_none() {
        topics.changed().await.unwrap();
    }
    let partition = name.partition(Partition::new(partition));
    let mut tail = log.tail(&partition).unwrap();
    tail.wait_for(|end| end.get() >= count).await.unwrap();
    let chunk = log
        .read(&partition, LogOffset::ZERO, usize::MAX)
        .await
        .unwrap();
    chunk
        .batches
        .iter()
        .flat_map(|batch| batch.records().unwrap())
        .map(|stored| stored.record)
        .collect()
}

/// What every cluster must give: an exact copy, once, across crashes.
async fn is_copied_exactly_once_across_crashes(cluster: Cluster) {
    let log: SharedLog = MemoryLog::new();
    let mut sent: Vec<Record> = (0..20).map(full_record).collect();
    sent[3].value = None;
    sent[4].key = None;
    sent[5].headers.clear();
    sent[6].value = Some(Bytes::new());
    for record in &sent[..10] {
        cluster.send(1, record).await;
    }
    cluster.send(0, &full_record(99)).await;
    for count in [1, 4, 10] {
        let run = cluster.run(&log, 1);
        copied(&log, &cluster, 1, count).await;
        run.abort();
        let _ = run.await;
    }
    for record in &sent[10..] {
        cluster.send(1, record).await;
    }
    let run = cluster.run(&log, 1);
    assert_eq!(copied(&log, &cluster, 1, 20).await, sent);
    let name = TopicName::new(format!("kafka.shop.{}", cluster.topic)).unwrap();
    assert_eq!(log.topic(&name).unwrap().config.partitions, 2);
    // The other partition is another source's.
    let other = log.bounds(&name.partition(Partition::new(0))).unwrap();
    assert!(other.is_empty());
    run.abort();
}

#[tokio::test]
async fn a_partition_is_copied_exactly_once_across_crashes() {
    let mock = MockCluster::new(1).unwrap();
    let cluster = Cluster::at(mock.bootstrap_servers());
    mock.create_topic(&cluster.topic, 2, 1).unwrap();
    is_copied_exactly_once_across_crashes(cluster).await;
}

#[tokio::test]
async fn a_partition_of_apache_kafka_is_copied_exactly_once_across_crashes() {
    let name = "a_partition_of_apache_kafka_is_copied_exactly_once_across_crashes";
    let Some(cluster) = Cluster::apache(name, 2).await else {
        return;
    };
    is_copied_exactly_once_across_crashes(cluster).await;
}

#[tokio::test]
async fn what_comes_while_a_new_source_at_the_end_is_down_is_not_skipped() {
    let mock = MockCluster::new(1).unwrap();
    let cluster = Cluster::at(mock.bootstrap_servers());
    mock.create_topic(&cluster.topic, 1, 1).unwrap();
    cluster.send(0, &full_record(1)).await;
    let mut config = cluster.source(0).config;
    config.start = Start::Latest;
    let mut source = KafkaSource::new(config).unwrap();
    source.open(None).await.unwrap();
    let begin = source.next(1).await.unwrap();
    assert_eq!(begin.deliveries, []);
    drop(source);
    cluster.send(0, &full_record(2)).await;
    let mut source = cluster.source(0);
    source.open(Some(&begin.position)).await.unwrap();
    let batch = source.next(1).await.unwrap();
    assert_eq!(batch.deliveries[0].record, full_record(2));
}

/// Opens a source at its beginning.
async fn opened(cluster: &Cluster, partition: i32) -> KafkaSource {
    let mut source = cluster.source(partition);
    source.open(None).await.unwrap();
    let begin = source.next(1).await.unwrap();
    assert_eq!(begin.deliveries, []);
    source
}

/// Hands over the one record that waits.
async fn one(source: &mut KafkaSource) -> (SourcePosition, Record) {
    let mut batch = source.next(1).await.unwrap();
    let record = batch.deliveries.pop().unwrap().record;
    assert_eq!(batch.deliveries, []);
    (batch.position, record)
}

#[tokio::test]
async fn a_partition_that_stands_still_is_named_and_goes_on_when_it_is_opened_again() {
    let mock = MockCluster::new(1).unwrap();
    let cluster = Cluster::at(mock.bootstrap_servers());
    mock.create_topic(&cluster.topic, 2, 1).unwrap();
    let (mut stuck, mut other) = (opened(&cluster, 0).await, opened(&cluster, 1).await);
    for partition in [0, 1] {
        cluster.send(partition, &full_record(1)).await;
    }
    let (reached, _) = one(&mut stuck).await;
    one(&mut other).await;
    // The client goes on in everything but asking for this partition's records.
    let consumer = &stuck.session().unwrap().consumer;
    consumer.pause(&consumer.assignment().unwrap()).unwrap();
    for partition in [0, 1] {
        cluster.send(partition, &full_record(2)).await;
    }
    assert_eq!(one(&mut other).await.1, full_record(2));
    let stalled = loop {
        other.check(ANSWER).await.unwrap();
        for source in [&mut stuck, &mut other] {
            assert!(source.next(1).now_or_never().is_none());
        }
        if let Err(error) = stuck.check(ANSWER).await {
            break error;
        }
    };
    assert!(
        matches!(stalled, SourceError::Stalled { waiting: 1, .. }),
        "{stalled:?}"
    );
    assert!(
        stalled.to_string().contains(stuck.id().as_str()),
        "{stalled}"
    );
    stuck.open(Some(&reached)).await.unwrap();
    assert_eq!(one(&mut stuck).await.1, full_record(2));
}

#[tokio::test]
async fn what_a_transaction_leaves_behind_is_neither_lag_nor_a_stall() {
    let name = "what_a_transaction_leaves_behind_is_neither_lag_nor_a_stall";
    let Some(cluster) = Cluster::apache(name, 1).await else {
        return;
    };
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.bootstrap_servers)
        .set("transactional.id", &cluster.topic)
        .create()
        .unwrap();
    producer.init_transactions(ANSWER).unwrap();
    for (n, kept) in [(1, true), (2, false)] {
        producer.begin_transaction().unwrap();
        let value = n.to_string();
        let record = FutureRecord::<str, str>::to(&cluster.topic).payload(&value);
        producer.send(record, ANSWER).await.unwrap();
        match kept {
            true => producer.commit_transaction(ANSWER).unwrap(),
            false => producer.abort_transaction(ANSWER).unwrap(),
        }
    }
    let mut source = opened(&cluster, 0).await;
    assert_eq!(one(&mut source).await.1.value.unwrap(), "1");
    // Nothing can be told of it before the client has read to the end and said so.
    while source.lag() != Some(0) {
        assert!(source.next(1).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        source.check(ANSWER).await.unwrap();
    }
}

#[test]
fn nobody_s_property_changes_what_the_positions_rest_on() {
    let connection = Connection {
        name: "shop".to_owned(),
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        properties: BTreeMap::from([
            ("enable.auto.commit".to_owned(), "true".to_owned()),
            ("security.protocol".to_owned(), "ssl".to_owned()),
        ]),
    };
    let client = connection.client();
    assert_eq!(client.get("enable.auto.commit"), Some("false"));
    assert_eq!(client.get("security.protocol"), Some("ssl"));
}

/// Counted by whoever runs the tests: a line in the file that the environment names.
fn skip(test: &str) {
    if let Some(file) = std::env::var_os("TIDEMILL_SKIPS") {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file);
        let line = format!("skipped: {test}: there is no Apache Kafka (TIDEMILL_TEST_KAFKA)\n");
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}
