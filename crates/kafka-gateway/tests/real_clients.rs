//! librdkafka against the gateway over a log on disk.
//!
//! Some of its calls block their thread, so the gateway needs threads of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use event_log::{EmbeddedConfig, EmbeddedLog, SharedLog};
use kafka_gateway::{Gateway, GatewayConfig};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What a test may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

struct Served {
    dir: TempDir,
    log: SharedLog,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn new() -> Self {
        Self::on(TempDir::new().unwrap()).await
    }

    async fn on(dir: TempDir) -> Self {
        let log = EmbeddedConfig::new(dir.path());
        let log = EmbeddedLog::open(log, Arc::new(SystemClock::new())).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = GatewayConfig::default();
        let gateway = Gateway::bind(any, config, log.clone()).await.unwrap();
        let address = gateway.local_addr();
        let stop = CancellationToken::new();
        let task = tokio::spawn(gateway.run(stop.clone()));
        Self {
            dir,
            log,
            address,
            stop,
            task,
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address.to_string());
        config
    }

    fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        let mut config = self.config();
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().unwrap()
    }

    fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> StreamConsumer {
        self.consumer_config(group, settings).create().unwrap()
    }

    fn consumer_config(&self, group: &str, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("heartbeat.interval.ms", "500")
            .set("session.timeout.ms", "6000");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config
    }

    /// Ends gateway and log; what is left is on the disk.
    async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.task.await.unwrap();
        self.dir
    }
}

/// Sends values `from..to` without waiting in between, each under its own key.
async fn produce(producer: &FutureProducer, topic: &str, range: std::ops::Range<u32>) {
    let mut sent = Vec::new();
    for index in range {
        let (key, value) = (format!("k{index}"), index.to_string());
        let record = FutureRecord::to(topic).key(&key).payload(&value);
        sent.push(producer.send_result(record).unwrap());
    }
    for delivery in sent {
        timeout(PATIENCE, delivery).await.unwrap().unwrap().unwrap();
    }
}

/// Says when a member's assignment has changed.
struct Rebalances(watch::Sender<()>);

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.0.send_replace(());
    }
}

async fn next<C: ConsumerContext + 'static>(consumer: &StreamConsumer<C>) -> (u32, i32, i64) {
    let message = timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap();
    let value = std::str::from_utf8(message.payload().unwrap()).unwrap();
    (
        value.parse().unwrap(),
        message.partition(),
        message.offset(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_keep_their_order() {
    let served = Served::new().await;
    let producer = served.producer(&[]);
    let mut sent = Vec::new();
    for index in 0..1_000 {
        let value = index.to_string();
        let record = FutureRecord::<(), _>::to("ordered")
            .partition(3)
            .payload(&value);
        sent.push(producer.send_result(record).unwrap());
    }
    for (index, delivery) in sent.into_iter().enumerate() {
        let delivered = timeout(PATIENCE, delivery).await.unwrap().unwrap().unwrap();
        assert_eq!(delivered.partition, 3);
        assert_eq!(usize::try_from(delivered.offset).unwrap(), index);
    }
    let consumer = served.consumer("readers", &[]);
    consumer.subscribe(&["ordered"]).unwrap();
    for index in 0..1_000 {
        assert_eq!(next(&consumer).await, (index, 3, i64::from(index)));
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_headers_and_every_compression_come_back_as_sent() {
    let served = Served::new().await;
    for codec in ["none", "gzip", "lz4", "snappy"] {
        let producer = served.producer(&[("compression.codec", codec), ("linger.ms", "50")]);
        let value = "compress me ".repeat(200);
        let headers = OwnedHeaders::new().insert(Header {
            key: "codec",
            value: Some(codec),
        });
        let mut sent = Vec::new();
        for _ in 0..20 {
            let record = FutureRecord::to(codec)
                .key("key")
                .payload(&value)
                .headers(headers.clone());
            sent.push(producer.send_result(record).unwrap());
        }
        for delivery in sent {
            timeout(PATIENCE, delivery).await.unwrap().unwrap().unwrap();
        }
        let consumer = served.consumer(codec, &[]);
        consumer.subscribe(&[codec]).unwrap();
        for _ in 0..20 {
            let message = timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap();
            assert_eq!(message.key(), Some(&b"key"[..]));
            assert_eq!(message.payload(), Some(value.as_bytes()));
            let header = message.headers().unwrap().get(0);
            assert_eq!(header.value, Some(codec.as_bytes()));
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotent_producer_delivers_once_and_in_order() {
    let served = Served::new().await;
    let producer = served.producer(&[("enable.idempotence", "true"), ("linger.ms", "1")]);
    produce(&producer, "once", 0..500).await;
    let consumer = served.consumer("once", &[]);
    consumer.subscribe(&["once"]).unwrap();
    let mut seen = HashSet::new();
    let mut last = HashMap::new();
    for _ in 0..500 {
        let (value, partition, _) = next(&consumer).await;
        assert!(seen.insert(value));
        let before = last.insert(partition, value);
        assert!(before.is_none_or(|before| before < value));
    }
    served.stop().await;
}

async fn two_members_share_the_work(strategy: &str) {
    let served = Served::new().await;
    let producer = served.producer(&[]);
    let topic = format!("shared-{strategy}");
    produce(&producer, &topic, 0..100).await;
    let settings = [("partition.assignment.strategy", strategy)];

    let (rebalanced, mut rebalances) = watch::channel(());
    let member = || {
        let config = served.consumer_config("workers", &settings);
        let context = Rebalances(rebalanced.clone());
        let member: StreamConsumer<Rebalances> = config.create_with_context(context).unwrap();
        member.subscribe(&[&topic]).unwrap();
        member
    };
    let first = member();
    let mut seen = HashMap::<u32, u32>::new();
    for _ in 0..100 {
        *seen.entry(next(&first).await.0).or_default() += 1;
    }
    first.commit_consumer_state(CommitMode::Sync).unwrap();

    let second = member();
    // Both must be polled for the rebalance to go through; it is over when both own four of eight.
    let balanced = async {
        loop {
            tokio::select! {
                _ = first.recv() => {}
                _ = second.recv() => {}
                changed = rebalances.changed() => changed.unwrap(),
            }
            let owned =
                |consumer: &StreamConsumer<Rebalances>| consumer.assignment().unwrap().count();
            if owned(&first) == 4 && owned(&second) == 4 {
                return;
            }
        }
    };
    timeout(PATIENCE, balanced).await.unwrap();

    produce(&producer, &topic, 100..300).await;
    let (mut by_first, mut by_second) = (0, 0);
    while seen.len() < 300 {
        let (value, ..) = tokio::select! {
            message = next(&first) => { by_first += 1; message }
            message = next(&second) => { by_second += 1; message }
        };
        *seen.entry(value).or_default() += 1;
    }
    assert!(by_first > 0 && by_second > 0, "{by_first} and {by_second}");
    assert!(seen.values().all(|times| *times == 1), "each exactly once");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_eager_members_share_the_work() {
    two_members_share_the_work("range").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_cooperative_members_share_the_work() {
    two_members_share_the_work("cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_where_it_committed_even_after_a_restart() {
    let served = Served::new().await;
    produce(&served.producer(&[]), "resumed", 0..50).await;
    let consumer = served.consumer("g", &[]);
    consumer.subscribe(&["resumed"]).unwrap();
    let mut seen = HashSet::new();
    for _ in 0..20 {
        seen.insert(next(&consumer).await.0);
    }
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(consumer);
    let dir = served.stop().await;

    let served = Served::on(dir).await;
    let consumer = served.consumer("g", &[]);
    consumer.subscribe(&["resumed"]).unwrap();
    for _ in 0..30 {
        assert!(seen.insert(next(&consumer).await.0), "not read twice");
    }
    assert_eq!(seen.len(), 50);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_creates_describes_and_deletes() {
    let served = Served::new().await;
    let admin: AdminClient<DefaultClientContext> = served.config().create().unwrap();
    let options = AdminOptions::new();
    let topic = NewTopic::new("made", 3, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &options).await.unwrap();
    assert_eq!(made, [Ok("made".to_owned())]);
    let again = admin.create_topics([&topic], &options).await.unwrap();
    assert_eq!(
        again,
        [Err((
            "made".to_owned(),
            RDKafkaErrorCode::TopicAlreadyExists
        ))]
    );
    let striped = NewTopic::new("striped", 3, TopicReplication::Fixed(1)).set("stripes", "7");
    let refused = admin.create_topics([&striped], &options).await.unwrap();
    assert_eq!(
        refused,
        [Err(("striped".to_owned(), RDKafkaErrorCode::InvalidConfig))]
    );
    let more = NewPartitions::new("made", 5);
    let grown = admin.create_partitions([&more], &options).await.unwrap();
    assert_eq!(grown, [Ok("made".to_owned())]);
    let made = ResourceSpecifier::Topic("made");
    let kept = AlterConfig::new(made).set("retention.ms", "60000");
    let altered = admin.alter_configs([&kept], &options).await.unwrap();
    assert_eq!(
        altered,
        [Ok(OwnedResourceSpecifier::Topic("made".to_owned()))]
    );
    let described = admin.describe_configs([&made], &options).await.unwrap();
    let described = described[0].as_ref().unwrap();
    let retention = described.get("retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("60000"));
    assert_eq!(retention.source, ConfigSource::DynamicTopic);
    let policy = described.get("cleanup.policy").unwrap();
    assert_eq!(policy.source, ConfigSource::Default);
    let deleted = admin.delete_topics(&["made"], &options).await.unwrap();
    assert_eq!(deleted, [Ok("made".to_owned())]);
    assert!(served.log.topics().is_empty());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_topics_refuse_a_real_producer() {
    let served = Served::new().await;
    let config = event_log::TopicConfig::new(1, event_log::Lifetime::LongLived);
    let name = event_log::TopicName::new("tidemill.billing").unwrap();
    served.log.create_topic(&name, config).await.unwrap();
    let producer = served.producer(&[]);
    let record = FutureRecord::<(), _>::to(name.as_str()).payload("forged");
    let refused = timeout(PATIENCE, producer.send(record, PATIENCE))
        .await
        .unwrap();
    let (error, _) = refused.unwrap_err();
    assert_eq!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed)
    );
    served.stop().await;
}
