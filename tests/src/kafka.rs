//! A Kafka client that has never heard of this project.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::eventually;

const TIMEOUT: Duration = Duration::from_secs(30);

/// One record as a client sees it.
#[derive(Clone, Debug)]
pub struct Consumed {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; empty for a tombstone.
    pub value: Vec<u8>,
}

/// An idempotent producer that waits for durability.
///
/// # Errors
/// The client library refuses its settings.
pub fn producer(bootstrap: &str) -> Result<FutureProducer> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("message.timeout.ms", "60000")
        // A server that was killed is back within moments.
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .set("retry.backoff.max.ms", "200")
        .create()
        .context("make a producer")
}

/// Whether the server lets a client in by SASL/PLAIN with this user and password.
///
/// # Errors
/// It says neither for half a minute.
pub fn logs_in(bootstrap: &str, (user, password): &(String, String)) -> Result<bool> {
    #[derive(Default)]
    struct Denial(AtomicBool);

    impl ClientContext for Denial {
        fn error(&self, error: KafkaError, _reason: &str) {
            let code = error.rdkafka_error_code();
            if code == Some(RDKafkaErrorCode::Authentication) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
    }

    impl ConsumerContext for Denial {}

    let client: BaseConsumer<Denial> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("security.protocol", "sasl_plaintext")
        .set("sasl.mechanism", "PLAIN")
        .set("sasl.username", user)
        .set("sasl.password", password)
        .create_with_context(Denial::default())?;
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        let asked = client.fetch_metadata(None, Duration::from_millis(500));
        if asked.is_ok() {
            return Ok(true);
        }
        // Errors are handed over by polling.
        let _ = client.poll(Duration::ZERO);
        if client.context().0.load(Ordering::Relaxed) {
            return Ok(false);
        }
    }
    bail!("neither let in nor refused")
}

/// Publishes records and waits until every one is acknowledged.
///
/// # Errors
/// One is not.
pub async fn publish(
    bootstrap: &str,
    topic: &str,
    records: impl IntoIterator<Item = (String, String)>,
) -> Result<()> {
    let producer = producer(bootstrap)?;
    let records: Vec<_> = records.into_iter().collect();
    let sends = records.iter().map(|(key, value)| {
        producer.send(FutureRecord::to(topic).key(key).payload(value), TIMEOUT)
    });
    for sent in futures::future::join_all(sends).await {
        sent.map_err(|(error, _)| error)
            .with_context(|| format!("publish to {topic}"))?;
    }
    Ok(())
}

/// Publishes one record to a partition of the caller's choice.
///
/// # Errors
/// It is not acknowledged.
pub async fn publish_to(bootstrap: &str, topic: &str, partition: i32, value: &str) -> Result<()> {
    let record = FutureRecord::<str, str>::to(topic)
        .partition(partition)
        .payload(value);
    let sent = producer(bootstrap)?.send(record, TIMEOUT).await;
    sent.map_err(|(error, _)| error)
        .with_context(|| format!("publish to {topic}-{partition}"))?;
    Ok(())
}

/// Creates a topic that is kept `copies` times.
///
/// # Errors
/// The cluster does not create it.
pub async fn create_topic(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    copies: i32,
) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    for made in admin.create_topics([&new], &options).await? {
        made.map_err(|(topic, error)| anyhow::anyhow!("create {topic}: {error}"))?;
    }
    until_led(&admin, topic, partitions).await
}

/// Waits until the broker that is asked knows so many partitions of a topic with their leaders: it may hear
/// later than the client of what the controller did, and takes records for a topic that is deleted.
async fn until_led(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    partitions: i32,
) -> Result<()> {
    eventually(
        &format!("{topic} has {partitions} partitions"),
        async || {
            // Of all topics: to ask for one by name is to have it made.
            let metadata = admin.inner().fetch_metadata(None, TIMEOUT)?;
            let topics = metadata.topics().iter().filter(|it| it.name() == topic);
            let found = topics.flat_map(|it| it.partitions());
            let led = found.filter(|it| it.leader() >= 0).count();
            Ok((led == usize::try_from(partitions)?).then_some(()))
        },
    )
    .await
}

/// Gives a topic more partitions: `count` in all.
///
/// # Errors
/// The cluster does not.
pub async fn grow_topic(bootstrap: &str, topic: &str, count: usize) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let more = NewPartitions::new(topic, count);
    for made in admin.create_partitions([&more], &options).await? {
        made.map_err(|(topic, error)| anyhow::anyhow!("grow {topic}: {error}"))?;
    }
    Ok(())
}

/// Deletes a topic.
///
/// # Errors
/// The cluster does not.
pub async fn delete_topic(bootstrap: &str, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    for gone in admin.delete_topics(&[topic], &options).await? {
        gone.map_err(|(topic, error)| anyhow::anyhow!("delete {topic}: {error}"))?;
    }
    until_led(&admin, topic, 0).await
}

/// Every record that a topic holds now, partition by partition, by offset.
///
/// # Errors
/// The topic does not exist or cannot be read.
pub fn consume_all(bootstrap: &str, topic: &str) -> Result<Vec<Consumed>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions = metadata.topics().first().context("the topic")?.partitions();
    let mut assignment = TopicPartitionList::new();
    let mut unread = BTreeMap::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
        if low < high {
            assignment.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
            unread.insert(partition.id(), high);
        }
    }
    // All at once: what is assigned anew costs the client most of a second.
    consumer.assign(&assignment)?;
    let mut consumed = Vec::new();
    while !unread.is_empty() {
        let polled = consumer
            .poll(TIMEOUT)
            .with_context(|| format!("read {topic} below {unread:?}"))?;
        let message = match polled {
            // Markers of transactions take up the last offsets, and no client sees them.
            Err(KafkaError::PartitionEOF(partition)) => {
                unread.remove(&partition);
                continue;
            }
            polled => polled?,
        };
        let Some(high) = unread.get(&message.partition()) else {
            continue;
        };
        if message.offset() + 1 >= *high {
            unread.remove(&message.partition());
        }
        consumed.push(Consumed {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
        });
    }
    consumed.sort_by_key(|record| (record.partition, record.offset));
    Ok(consumed)
}
