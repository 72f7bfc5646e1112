//! librdkafka's transactions against the port over a log on disk.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use event_log::{EmbeddedConfig, EmbeddedLog};
use kafka_gateway::{Gateway, GatewayConfig};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a step may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

type Writer = ThreadedProducer<rdkafka::producer::DefaultProducerContext>;

/// A served log; librdkafka's calls block, so that the runtime has threads of its own.
struct Served {
    runtime: Runtime,
    address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    dir: Arc<TempDir>,
}

impl Served {
    fn new() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::on(Arc::new(TempDir::new().unwrap()), any)
    }

    fn on(dir: Arc<TempDir>, address: SocketAddr) -> Self {
        let runtime = Runtime::new().unwrap();
        let log = EmbeddedConfig::new(dir.path());
        let log = EmbeddedLog::open(log, Arc::new(SystemClock::new())).unwrap();
        let config = GatewayConfig {
            default_partitions: 2,
            ..GatewayConfig::default()
        };
        let gateway = runtime.block_on(Gateway::bind(address, config, log));
        let gateway = gateway.unwrap();
        let address = gateway.local_addr();
        let stop = CancellationToken::new();
        let task = runtime.spawn(gateway.run(stop.clone()));
        Self {
            runtime,
            address,
            stop,
            task,
            dir,
        }
    }

    /// Ends the server and starts another on the same folder and port.
    fn restart(self) -> Self {
        let Self {
            runtime,
            address,
            stop,
            task,
            dir,
        } = self;
        stop.cancel();
        runtime.block_on(task).unwrap();
        drop(runtime);
        Self::on(dir, address)
    }

    fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address.to_string());
        config.set("reconnect.backoff.max.ms", "100");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config
    }

    fn writer(&self, id: &str) -> Writer {
        let config = self.config(&[("transactional.id", id), ("linger.ms", "0")]);
        let writer: Writer = config.create().unwrap();
        writer.init_transactions(PATIENCE).unwrap();
        writer
    }

    fn reader(&self, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = self.config(&[
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
        ]);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().unwrap()
    }

    fn create(&self, topic: &str, partitions: i32) {
        use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
        let admin: AdminClient<DefaultClientContext> = self.config(&[]).create().unwrap();
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let created = admin.create_topics([&topic], &AdminOptions::new());
        self.runtime.block_on(created).unwrap()[0].as_ref().unwrap();
    }

    /// Every value of a topic of two partitions, sorted.
    fn values(&self, topic: &str, isolation: &str) -> Vec<String> {
        let reader = self.reader("reader", &[("isolation.level", isolation)]);
        let mut wanted = rdkafka::TopicPartitionList::new();
        for partition in 0..2 {
            let from = rdkafka::Offset::Beginning;
            wanted.add_partition_offset(topic, partition, from).unwrap();
        }
        reader.assign(&wanted).unwrap();
        let (mut values, mut ended) = (Vec::new(), std::collections::BTreeSet::new());
        while ended.len() < 2 {
            match reader.poll(PATIENCE).expect("it ends") {
                Ok(message) => values.push(value(&message)),
                Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                Err(error) => panic!("{error}"),
            }
        }
        values.sort();
        values
    }
}

fn value(message: &impl Message) -> String {
    String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
}

fn send(writer: &Writer, topic: &str, value: &str) {
    let record = BaseRecord::to(topic).key(value).payload(value);
    writer.send(record).map_err(|(error, _)| error).unwrap();
}

#[test]
fn a_reader_sees_committed_records_alone() {
    let served = Served::new();
    served.create("t", 2);
    let writer = served.writer("tx");
    for round in 0..6 {
        writer.begin_transaction().unwrap();
        for at in 0..10 {
            send(&writer, "t", &format!("{round}.{at}"));
        }
        // An abort purges what has not been sent: it must abort something here.
        writer.flush(PATIENCE).unwrap();
        if round % 2 == 0 {
            writer.commit_transaction(PATIENCE).unwrap();
        } else {
            writer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let expected = |rounds: &[u32]| {
        let values = rounds
            .iter()
            .flat_map(|round| (0..10).map(move |at| format!("{round}.{at}")));
        values.collect::<Vec<_>>()
    };
    let committed = expected(&[0, 2, 4]);
    assert_eq!(served.values("t", "read_committed"), committed);
    let everything = expected(&[0, 1, 2, 3, 4, 5]);
    assert_eq!(served.values("t", "read_uncommitted"), everything);
    let served = served.restart();
    assert_eq!(served.values("t", "read_committed"), committed);
}

#[test]
fn a_zombie_is_fenced_by_its_successor() {
    let served = Served::new();
    served.create("t", 2);
    let zombie = served.writer("tx");
    zombie.begin_transaction().unwrap();
    send(&zombie, "t", "zombie");
    zombie.flush(PATIENCE).unwrap();
    let successor = served.writer("tx");
    successor.begin_transaction().unwrap();
    send(&successor, "t", "successor");
    successor.commit_transaction(PATIENCE).unwrap();
    let fenced = zombie.commit_transaction(PATIENCE).unwrap_err();
    let Some(code) = fenced.rdkafka_error_code() else {
        panic!("{fenced}");
    };
    assert_eq!(code, RDKafkaErrorCode::Fenced, "{fenced}");
    assert_eq!(served.values("t", "read_committed"), ["successor"]);
}

/// A transaction that the server is stopped in goes on afterwards: the client does not notice.
#[test]
fn reading_processing_and_writing_happens_once_across_restarts() {
    let mut served = Served::new();
    served.create("in", 2);
    served.create("out", 2);
    let source = served.writer("source");
    source.begin_transaction().unwrap();
    for at in 0..120 {
        send(&source, "in", &format!("{at:03}"));
    }
    source.commit_transaction(PATIENCE).unwrap();

    let reader = served.reader("worker", &[("isolation.level", "read_committed")]);
    reader.subscribe(&["in"]).unwrap();
    let writer = served.writer("worker");
    let mut done = 0;
    let mut restarts = 0;
    let begun = Instant::now();
    while done < 120 {
        assert!(begun.elapsed() < PATIENCE, "{done} are done");
        // Nothing comes of a rebalance either.
        let first = match reader.poll(PATIENCE) {
            Some(Ok(message)) => message,
            None
            | Some(Err(
                KafkaError::PartitionEOF(_)
                | KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                ),
            )) => continue,
            Some(Err(error)) => panic!("{error}"),
        };
        let mut batch = BTreeMap::from([(first.partition(), first.offset() + 1)]);
        writer.begin_transaction().unwrap();
        send(&writer, "out", &value(&first));
        done += 1;
        let end = done + 19;
        while done < end
            && let Some(Ok(message)) = reader.poll(Duration::from_millis(5))
        {
            batch.insert(message.partition(), message.offset() + 1);
            send(&writer, "out", &value(&message));
            done += 1;
        }
        let mut offsets = rdkafka::TopicPartitionList::new();
        for (partition, next) in batch {
            let next = rdkafka::Offset::Offset(next);
            offsets.add_partition_offset("in", partition, next).unwrap();
        }
        // Without the member's part of it: members live in memory, and join again.
        let metadata = served.reader("worker", &[]).group_metadata().unwrap();
        if restarts < 2 {
            writer.flush(PATIENCE).unwrap();
            served = served.restart();
            restarts += 1;
        }
        writer
            .send_offsets_to_transaction(&offsets, &metadata, PATIENCE)
            .unwrap();
        writer.commit_transaction(PATIENCE).unwrap();
    }
    let expected: Vec<_> = (0..120).map(|at| format!("{at:03}")).collect();
    assert_eq!(served.values("out", "read_committed"), expected);
    let committed = reader.committed(PATIENCE).unwrap();
    let reached = committed.elements();
    let reached = reached.iter().map(|it| match it.offset() {
        rdkafka::Offset::Offset(at) => at,
        other => panic!("{other:?}"),
    });
    // A control record follows the records of the one transaction.
    assert_eq!(reached.sum::<i64>(), 120);
    assert_eq!(restarts, 2);
}
