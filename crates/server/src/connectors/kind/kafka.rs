//! `kafka`: topics of another cluster.

use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use clap::{Args, ValueEnum};
use connector::{Source, SourceError};
use connector_kafka::{Config, KafkaSource, Start};
use event::{SourceId, SourcePosition};
use event_log::{SharedLog, TopicName};
use serde::{Deserialize, Serialize};

use super::properties::{self, Property};
use super::{Kind, Sources, Surroundings, Topics, rejected};
use crate::config::{Secret, check_properties, read_properties};
use crate::connectors::ConnectorName;

/// How often the cluster is asked whether topics have more partitions by now.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Topics of another Kafka cluster: every record that it has, then every record that comes.
///
/// A topic goes to kafka.NAME.TOPIC, partition by partition, with keys, values, headers, times and
/// tombstones as they are. Functions are attached to that topic as to any of this server's own.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add kafka --name plant --bootstrap broker.example:9092 --topics readings,alarms
  aws lambda create-event-source-mapping --function-name enrich --topics kafka.plant.readings \\
      --starting-position TRIM_HORIZON \\
      --self-managed-event-source '{\"Endpoints\": {\"KAFKA_BOOTSTRAP_SERVERS\": [\"127.0.0.1:9092\"]}}'

With credentials (TLS and SCRAM need a build with --features kafka-tls):
  … --client security.protocol=SASL_PLAINTEXT --client sasl.mechanism=PLAIN \\
    --client sasl.username=ada --secret sasl.password=file:/etc/tidemill/plant.password")]
pub(crate) struct Kafka {
    /// Brokers to begin with
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) bootstrap: Vec<String>,
    /// Topics to read
    #[arg(long, value_name = "TOPIC,…", value_delimiter = ',', required = true)]
    pub(crate) topics: Vec<String>,
    /// Where to begin
    #[arg(long, value_enum, default_value = "earliest")]
    #[serde(default)]
    pub(crate) start: StartAt,
    /// A property of the client in librdkafka's words: security.*, ssl.*, sasl.*, socket.*
    #[arg(long, value_name = "NAME=VALUE")]
    #[serde(default, with = "properties")]
    pub(crate) client: Vec<Property<String>>,
    /// A property that is secret, such as sasl.password: file:PATH or env:NAME of its value
    #[arg(long = "secret", value_name = "NAME=REFERENCE")]
    #[serde(default, with = "properties")]
    pub(crate) secrets: Vec<Property<Secret>>,
}

/// Where a topic that was not read yet begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StartAt {
    /// At the first record that the cluster still has
    #[default]
    Earliest,
    /// Behind the last record that it has now
    Latest,
}

impl Kafka {
    fn source(
        &self,
        name: &ConnectorName,
        topic: &str,
        partition: u32,
        start: StartAt,
    ) -> anyhow::Result<KafkaSource> {
        let (client, secrets) = (
            properties::map(&self.client),
            properties::map(&self.secrets),
        );
        Ok(KafkaSource::new(Config {
            connection: name.to_string(),
            bootstrap_servers: self.bootstrap.join(","),
            properties: read_properties("connector", &client, &secrets)?,
            topic: topic.to_owned(),
            partition: i32::try_from(partition)?,
            start: match start {
                StartAt::Earliest => Start::Earliest,
                StartAt::Latest => Start::Latest,
            },
        })?)
    }

    /// One source for each partition that a topic has now; ours gets as many partitions.
    async fn sources_of(
        &self,
        name: &ConnectorName,
        topic: &str,
        log: &SharedLog,
    ) -> Result<Vec<Box<dyn Source>>, SourceError> {
        let act = format!("set up connector {name}");
        let source = |partition, start| {
            let source = self.source(name, topic, partition, start);
            source.map_err(|error| rejected(act.as_str(), error))
        };
        let partitions = source(0, self.start)?.partitions().await?;
        let ours = TopicName::new(target(name, topic));
        let ours = ours.map_err(|error| rejected(act.as_str(), error.into()))?;
        let known = log.topic(&ours).map(|topic| topic.config.partitions);
        if known.is_some_and(|known| known < partitions) {
            let grown = log.add_partitions(&ours, partitions).await;
            grown.map_err(|error| SourceError::Unavailable {
                act: format!("give {ours} the partitions of {topic}"),
                source: error.into(),
            })?;
        }
        let sources = (0..partitions).map(|partition| {
            // A partition that came later is read whole: nothing of it was there at the start.
            let start = match known.is_some_and(|known| partition >= known) {
                true => StartAt::Earliest,
                false => self.start,
            };
            source(partition, start).map(|source| Box::new(source) as Box<dyn Source>)
        });
        sources.collect()
    }
}

fn target(name: &ConnectorName, topic: &str) -> String {
    format!("kafka.{name}.{topic}")
}

#[async_trait]
impl Kind for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn check(&self) -> anyhow::Result<()> {
        for broker in &self.bootstrap {
            let port = broker.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) {
                bail!("bootstrap: {broker:?} is not host:port");
            }
        }
        if self.bootstrap.is_empty() {
            bail!("bootstrap names no brokers");
        }
        if self.topics.is_empty() {
            bail!("topics names no topics");
        }
        for topic in &self.topics {
            if TopicName::new(topic.as_str()).is_err() || topic.len() > 200 {
                bail!("topics: {topic:?} is no name of a topic, or too long for ours");
            }
        }
        let (client, secrets) = (
            properties::map(&self.client),
            properties::map(&self.secrets),
        );
        check_properties("connector", &client, &secrets)
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        for property in &mut self.secrets {
            property.value = property.value.clone().absolute()?;
        }
        Ok(())
    }

    fn reads(&self) -> String {
        format!("{} at {}", self.topics.join(","), self.bootstrap.join(","))
    }

    fn topics(&self, name: &ConnectorName) -> Topics {
        Topics::Below(target(name, ""))
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let mut all = Vec::new();
        for topic in &self.topics {
            all.extend(self.sources_of(name, topic, &around.log).await?);
        }
        Ok(Sources {
            all,
            look_again: Some(LOOK_AGAIN),
        })
    }

    fn source_ids(&self, name: &ConnectorName, log: &SharedLog) -> Vec<SourceId> {
        let topics = self.topics.iter().filter_map(|topic| {
            let ours = log.topic(&TopicName::new(target(name, topic)).ok()?)?;
            Some((topic, ours.config.partitions))
        });
        topics
            .flat_map(|(topic, partitions)| {
                (0..partitions)
                    .map(move |one| SourceId::new(format!("/kafka/{name}/{topic}/{one}")))
            })
            .collect()
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        let text = std::str::from_utf8(position.as_bytes()).ok()?;
        let offset: u64 = text.parse().ok()?;
        Some(format!("offset {offset}"))
    }

    async fn release(
        &self,
        name: &ConnectorName,
        _around: &Surroundings,
    ) -> Result<String, SourceError> {
        Ok(format!(
            "the offsets of group tidemill-{name} at the cluster are left to expire"
        ))
    }

    fn leaves_behind(&self, _name: &ConnectorName) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "bootstrap = ['a:9092']\ntopics = ['orders']\n";

    fn parse(more: &str) -> Result<Kafka, toml::de::Error> {
        toml::from_str(&format!("{TOML}{more}"))
    }

    #[test]
    fn properties_are_a_table_in_files_and_secrets_are_references() {
        let read = parse(
            "client = { 'sasl.username' = 'ada' }\nsecrets = { 'sasl.password' = 'env:PLANT' }",
        );
        let read = read.unwrap();
        read.check().unwrap();
        let printed = toml::to_string(&read).unwrap();
        assert_eq!(toml::from_str::<Kafka>(&printed).unwrap(), read);
        let refused = parse("secrets = { 'sasl.password' = 'hush' }").unwrap_err();
        assert!(!refused.message().contains("hush"), "{refused}");
    }

    #[test]
    fn what_positions_rest_on_and_secrets_in_the_open_are_refused_by_name() {
        for (property, expected) in [
            ("group.id", "group.id"),
            ("isolation.level", "isolation.level"),
            ("sasl.password", "secrets"),
        ] {
            let settings = parse(&format!("client = {{ '{property}' = 'hush' }}")).unwrap();
            let refused = settings.check().unwrap_err().to_string();
            assert!(
                refused.contains(expected) && !refused.contains("hush"),
                "{refused}"
            );
        }
        let error = parse("partition = 3").unwrap_err();
        assert!(error.message().contains("partition"), "{error}");
    }
}
