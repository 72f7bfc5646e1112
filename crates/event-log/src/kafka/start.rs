//! Whether the cluster can keep the contract, and the log's own topics in it.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

use super::KafkaConfig;
use super::client::{Clients, Names, PATIENCE, failed};
use crate::{Cleanup, Error, Lifetime, Limit, Shard, TopicConfig, TopicName, TopicSettings};

/// Asks the cluster to change things.
pub(super) struct Admin {
    client: AdminClient<DefaultClientContext>,
    names: Names,
    replicas: i32,
    min_insync: Option<String>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("admin")
    }
}

impl Admin {
    pub(super) fn open(clients: &Clients, config: &KafkaConfig) -> Result<Self, Error> {
        let client = clients.base().create();
        let replicas = config.replication_factor.map_or(-1, i32::from);
        Ok(Self {
            client: client.map_err(|error| failed("make a client of the cluster", error))?,
            names: Names::of(config),
            replicas,
            min_insync: config.min_insync_replicas.map(|count| count.to_string()),
        })
    }

    fn options() -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(PATIENCE))
            .operation_timeout(Some(PATIENCE))
    }

    /// Refuses a cluster that cannot keep the contract and says what another does not promise.
    pub(super) async fn inspect(&self, brokers: Vec<i32>) -> Result<(), Error> {
        let mut unknown = None;
        let mut asked = 0;
        for broker in brokers {
            // The client takes one broker a call.
            let described = self
                .client
                .describe_configs(&[ResourceSpecifier::Broker(broker)], &Self::options())
                .await;
            match described {
                Ok(described) => {
                    for broker in described.into_iter().flatten() {
                        fit(&broker)?;
                        promises(&broker);
                    }
                    asked += 1;
                }
                // One that has gone since must not keep a node from the others.
                Err(error) => unknown = Some(error),
            }
        }
        match unknown {
            Some(error) if asked == 0 => Err(failed("ask brokers for their settings", error)),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes the log's own topics where they are missing.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let names = &self.names;
        let shards = i32::try_from(Shard::COUNT).unwrap_or(i32::MAX);
        for (name, partitions, compact) in [
            (&names.shards, shards, false),
            (&names.checkpoints, shards, true),
            (&names.control, 1, true),
        ] {
            let policy = if compact { "compact" } else { "delete" };
            let topic = self
                .topic(name, partitions)
                .set("cleanup.policy", policy)
                .set("unclean.leader.election.enable", "false");
            match self.create(&topic).await {
                Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists) => {}
                Err(code) => {
                    let error = KafkaError::AdminOp(code);
                    return Err(failed(format!("create topic {name}"), error));
                }
            }
        }
        self.wait_for(names, shards).await
    }

    /// Waits until every broker that is asked knows the log's own topics.
    async fn wait_for(&self, names: &Names, shards: i32) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        for (name, count) in [
            (&names.shards, shards),
            (&names.checkpoints, shards),
            (&names.control, 1),
        ] {
            loop {
                let metadata = self.client.inner().fetch_metadata(Some(name), PATIENCE);
                let metadata =
                    metadata.map_err(|error| failed(format!("look at topic {name}"), error))?;
                let topic = metadata.topics().first();
                let partitions = topic.map_or(&[][..], |topic| topic.partitions());
                let led = partitions.iter().filter(|it| it.leader() >= 0).count();
                if topic.is_some_and(|topic| topic.error().is_none())
                    && led == partitions.len()
                    && led > 0
                {
                    if led != usize::try_from(count).unwrap_or(usize::MAX) {
                        return Err(Error::Unfit {
                            reason: format!(
                                "topic {name} has {led} partitions, not {count}: it belongs to something else; choose another cluster name"
                            ),
                        });
                    }
                    let replicas = partitions.iter().map(|it| it.replicas().len()).min();
                    if replicas == Some(1) {
                        tracing::warn!(
                            topic = &**name,
                            "has a single replica: what its broker loses is lost"
                        );
                    }
                    break;
                }
                if Instant::now() > until {
                    return Err(Error::Unfit {
                        reason: format!("topic {name} has no leader for {PATIENCE:?}"),
                    });
                }
                tokio::time::sleep_until(Instant::now() + Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn topic<'a>(&'a self, name: &'a str, partitions: i32) -> NewTopic<'a> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas));
        match &self.min_insync {
            Some(count) => topic.set("min.insync.replicas", count),
            None => topic,
        }
    }

    async fn create(&self, topic: &NewTopic<'_>) -> Result<(), RDKafkaErrorCode> {
        let created = self.client.create_topics([topic], &Self::options()).await;
        match created {
            Ok(results) => results
                .into_iter()
                .next()
                .map_or(Ok(()), |result| result.map(drop).map_err(|(_, code)| code)),
            Err(error) => Err(error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown)),
        }
    }

    /// Creates one of the log's topics in Kafka. `false` when there is one of that name.
    pub(super) async fn create_topic(
        &self,
        name: &TopicName,
        config: &TopicConfig,
    ) -> Result<bool, Error> {
        let partitions = i32::try_from(config.partitions).unwrap_or(i32::MAX);
        let settings = settings(config);
        let outside = self.names.outside(name);
        let mut topic = self.topic(&outside, partitions);
        for (key, value) in &settings {
            topic = topic.set(key, value);
        }
        match self.create(&topic).await {
            Ok(()) => Ok(true),
            Err(RDKafkaErrorCode::TopicAlreadyExists) => Ok(false),
            Err(
                code @ (RDKafkaErrorCode::InvalidPartitions
                | RDKafkaErrorCode::InvalidReplicationFactor
                | RDKafkaErrorCode::InvalidConfig
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::PolicyViolation),
            ) => Err(Error::InvalidTopicConfig {
                topic: name.clone(),
                reason: code.to_string(),
            }),
            Err(code) => Err(failed(
                format!("create topic {name}"),
                KafkaError::AdminOp(code),
            )),
        }
    }

    pub(super) async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        let outside = &*self.names.outside(name);
        let deleted = self.client.delete_topics(&[outside], &Self::options());
        match deleted.await.map(|results| results.into_iter().next()) {
            Ok(None | Some(Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)))) => Ok(()),
            Ok(Some(Err((_, code)))) => Err(failed(
                format!("delete topic {name}"),
                KafkaError::AdminOp(code),
            )),
            Err(error) => Err(failed(format!("delete topic {name}"), error)),
        }
    }

    pub(super) async fn grow_topic(&self, name: &TopicName, count: u32) -> Result<(), Error> {
        let outside = self.names.outside(name);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let partitions = rdkafka::admin::NewPartitions::new(&outside, count);
        let grown = self
            .client
            .create_partitions([&partitions], &Self::options());
        match grown.await.map(|results| results.into_iter().next()) {
            Ok(None | Some(Ok(_))) => Ok(()),
            Ok(Some(Err((_, code)))) => Err(Error::InvalidTopicConfig {
                topic: name.clone(),
                reason: code.to_string(),
            }),
            Err(error) => Err(failed(format!("give partitions to {name}"), error)),
        }
    }

    /// Replaces what is set for a topic.
    pub(super) async fn configure_topic(
        &self,
        name: &TopicName,
        config: &TopicConfig,
    ) -> Result<(), Error> {
        let settings = settings(config);
        let outside = self.names.outside(name);
        let mut altered = AlterConfig::new(ResourceSpecifier::Topic(&outside));
        for (key, value) in &settings {
            altered = altered.set(key, value);
        }
        if let Some(count) = &self.min_insync {
            altered = altered.set("min.insync.replicas", count);
        }
        let done = self.client.alter_configs([&altered], &Self::options());
        match done.await.map(|results| results.into_iter().next()) {
            Ok(None | Some(Ok(_))) => Ok(()),
            Ok(Some(Err((_, code)))) => Err(Error::InvalidTopicConfig {
                topic: name.clone(),
                reason: code.to_string(),
            }),
            Err(error) => Err(failed(format!("configure {name}"), error)),
        }
    }

    pub(super) async fn delete_records(
        &self,
        list: &rdkafka::TopicPartitionList,
    ) -> Result<rdkafka::TopicPartitionList, Error> {
        let deleted = self.client.delete_records(list, &Self::options()).await;
        deleted.map_err(|error| failed("delete records", error))
    }
}

/// What a topic's settings are in Kafka's words.
fn settings(config: &TopicConfig) -> Vec<(&'static str, String)> {
    let TopicSettings {
        cleanup,
        retention_age,
        retention_bytes,
        tombstone_grace,
        max_batch_bytes,
    } = config.settings;
    let policy = match cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
        Cleanup::CompactAndDelete => "compact,delete",
    };
    let mut settings = vec![
        ("cleanup.policy", policy.to_owned()),
        ("message.timestamp.type", "CreateTime".to_owned()),
    ];
    match (retention_age, config.lifetime) {
        (Some(Limit::AtMost(age)), _) => {
            settings.push(("retention.ms", age.as_millis().to_string()));
        }
        (Some(Limit::Unlimited), _) | (None, Lifetime::LongLived) => {
            settings.push(("retention.ms", "-1".to_owned()));
        }
        (None, Lifetime::Events) => {}
    }
    match retention_bytes {
        Some(Limit::AtMost(bytes)) => settings.push(("retention.bytes", bytes.to_string())),
        Some(Limit::Unlimited) => settings.push(("retention.bytes", "-1".to_owned())),
        None => {}
    }
    if let Some(grace) = tombstone_grace {
        settings.push(("delete.retention.ms", grace.as_millis().to_string()));
    }
    // The client library frames a record in more bytes than a batch of ours may have: the limit is
    // the log's to keep, with the same words for every log.
    let _ = max_batch_bytes;
    settings
}

/// Settings that brokers have had until 4.0, and that later ones do not know.
const BEFORE_4: [&str; 2] = ["zookeeper.connect", "inter.broker.protocol.version"];

fn fit(broker: &ConfigResource) -> Result<(), Error> {
    let old = BEFORE_4.iter().find(|name| broker.get(name).is_some());
    old.map_or(Ok(()), |name| {
        Err(Error::Unfit {
            reason: format!(
                "{:?} is older than Kafka 4.0 (it has {name}): upgrade the cluster, for its transactions let a paused node's late writes through",
                broker.specifier
            ),
        })
    })
}

/// Says what holds less than one would think.
fn promises(broker: &ConfigResource) {
    let value = |name: &str| broker.get(name).and_then(|entry| entry.value.clone());
    let is = |name: &str, bad: &str| value(name).as_deref() == Some(bad);
    for (name, bad, means) in [
        (
            "transaction.state.log.replication.factor",
            "1",
            "with its broker, the state of transactions is lost",
        ),
        (
            "offsets.topic.replication.factor",
            "1",
            "with its broker, it is lost which node holds what",
        ),
        (
            "unclean.leader.election.enable",
            "true",
            "a replica that is behind may lead, and acknowledged records are gone",
        ),
        (
            "transaction.partition.verification.enable",
            "false",
            "a late write may leave a transaction open for ever",
        ),
    ] {
        if is(name, bad) {
            tracing::warn!(broker = ?broker.specifier, "{name} is {bad}: {means}");
        }
    }
    if value("log.flush.interval.messages").as_deref() != Some("1") {
        tracing::info!(
            broker = ?broker.specifier,
            "acknowledges records once its replicas in sync have them, before they are on disk"
        );
    }
}
