//! `kafka`: topics of another cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::{Args, ValueEnum};
use connector::{Source, SourceError};
use connector_kafka::{
    Config, Connection, KafkaSource, Presence, Selection, Start, discover, offset_of,
};
use event::{SourceId, SourcePosition};
use event_log::{SharedLog, TopicName};
use serde::{Deserialize, Serialize};

use super::properties::{self, Property};
use super::{Absent, Kind, Sources, Surroundings, Topics, Weight, rejected};
use crate::config::{Secret, check_properties, read_properties};
use crate::connectors::ConnectorName;

/// Topics of another Kafka cluster: every record that it has, then every record that comes.
///
/// A topic goes to kafka.NAME.TOPIC, partition by partition, with keys, values, headers, times and
/// tombstones as they are. Functions are attached to that topic as to any of this server's own. Topics and
/// partitions that appear later are read from their beginning.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add kafka --name plant --bootstrap broker.example:9092 --topics readings,alarms
  aws lambda create-event-source-mapping --function-name enrich --topics kafka.plant.readings \\
      --starting-position TRIM_HORIZON \\
      --self-managed-event-source '{\"Endpoints\": {\"KAFKA_BOOTSTRAP_SERVERS\": [\"127.0.0.1:9092\"]}}'

Every topic whose name a regular expression finds, now and later (internal ones, __*, never):
  tidemill connector add kafka --name shop --bootstrap broker.example:9092 --topics '^orders-.*'

With credentials (TLS and SCRAM need a build with --features kafka-tls):
  … --client security.protocol=SASL_SSL --client ssl.ca.location=/etc/tidemill/plant-ca.pem \\
    --client sasl.mechanism=SCRAM-SHA-512 --client sasl.username=ada \\
    --secret sasl.password=file:/etc/tidemill/plant.password")]
pub(crate) struct Kafka {
    /// Brokers to begin with
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) bootstrap: Vec<String>,
    /// Topics to read; one that begins with ^ is a regular expression for names
    #[arg(long, value_name = "TOPIC,…", value_delimiter = ',', required = true)]
    pub(crate) topics: Vec<String>,
    /// Where to begin
    #[arg(long, value_enum, default_value = "earliest")]
    #[serde(default)]
    pub(crate) start: StartAt,
    /// How often the cluster is asked for topics and partitions that came later
    #[arg(long, value_name = "SECONDS", default_value_t = interval_seconds())]
    #[serde(default = "interval_seconds")]
    pub(crate) interval_seconds: u64,
    /// After how long without a record of a partition its cluster is asked whether some are waiting; where
    /// they have been for as long again, the partition is opened anew
    #[arg(long, value_name = "SECONDS", default_value_t = stalled_seconds())]
    #[serde(default = "stalled_seconds")]
    pub(crate) stalled_seconds: u64,
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

const fn interval_seconds() -> u64 {
    60
}

const fn stalled_seconds() -> u64 {
    60
}

impl Kafka {
    fn selections(&self) -> anyhow::Result<Vec<Selection>> {
        let selections = self.topics.iter().map(|topic| topic.parse());
        let selections: Result<_, _> = selections.collect();
        selections.context("topics")
    }

    fn connection(&self, name: &ConnectorName) -> anyhow::Result<Connection> {
        let (client, secrets) = (
            properties::map(&self.client),
            properties::map(&self.secrets),
        );
        Ok(Connection {
            name: name.to_string(),
            bootstrap_servers: self.bootstrap.join(","),
            properties: read_properties("connector", &client, &secrets)?,
        })
    }

    /// The topics that were read and are still meant.
    fn known(&self, name: &ConnectorName, log: &SharedLog) -> BTreeSet<String> {
        let selections = self.selections().unwrap_or_default();
        let prefix = target(name, "");
        let topics = log.topics().into_iter();
        let theirs =
            topics.filter_map(|it| Some(it.name.as_str().strip_prefix(&prefix)?.to_owned()));
        let meant = |topic: &String| {
            let mut selections = selections.iter();
            selections.any(|it| it.selects(name.as_str(), topic))
        };
        theirs.filter(meant).collect()
    }

    /// A topic that the cluster does not have.
    fn missing(&self, name: &ConnectorName, topic: &str, log: &SharedLog) -> Absent {
        let is_named = self.topics.iter().any(|it| it == topic);
        let why = match self.known(name, log).contains(topic) {
            true => format!(
                "the cluster does not have it any more; {} keeps what was read",
                target(name, topic)
            ),
            false => "the cluster does not have it".to_owned(),
        };
        Absent {
            what: format!("topic {topic}"),
            why: SourceError::Unavailable {
                act: "it is not read".to_owned(),
                source: why.into(),
            },
            weight: match is_named {
                true => Weight::Wanted,
                false => Weight::Ended,
            },
        }
    }
}

/// A topic that is there, on its way to be read.
struct Topic<'a> {
    connection: &'a Arc<Connection>,
    name: &'a str,
    start: StartAt,
    log: &'a SharedLog,
}

impl Topic<'_> {
    /// One source for each partition that the topic has now; ours gets as many partitions.
    async fn sources(&self, partitions: u32) -> Result<Vec<Box<dyn Source>>, SourceError> {
        let ours = self.ours()?;
        let known = self.known(&ours);
        if known.is_some_and(|known| known < partitions) {
            let grown = self.log.add_partitions(&ours, partitions).await;
            grown.map_err(|error| SourceError::Unavailable {
                act: format!("give {ours} the partitions of {}", self.name),
                source: error.into(),
            })?;
        }
        let sources = (0..partitions).map(|partition| {
            // A partition that came later is read whole: nothing of it was there at the start.
            match known.is_some_and(|known| partition >= known) {
                true => self.source(partition, StartAt::Earliest),
                false => self.source(partition, self.start),
            }
        });
        sources.collect()
    }

    /// One source for each partition that we know, while the cluster cannot say how many there are.
    fn known_sources(&self) -> Vec<Box<dyn Source>> {
        let known = self.ours().ok().and_then(|ours| self.known(&ours));
        let known = 0..known.unwrap_or(0);
        let sources = known.filter_map(|partition| self.source(partition, self.start).ok());
        sources.collect()
    }

    fn ours(&self) -> Result<TopicName, SourceError> {
        let ours = TopicName::new(format!("kafka.{}.{}", self.connection.name, self.name));
        ours.map_err(|error| rejected(format!("read topic {}", self.name), error.into()))
    }

    fn known(&self, ours: &TopicName) -> Option<u32> {
        self.log.topic(ours).map(|topic| topic.config.partitions)
    }

    fn source(&self, partition: u32, start: StartAt) -> Result<Box<dyn Source>, SourceError> {
        let config = || -> anyhow::Result<Config> {
            Ok(Config {
                connection: Arc::clone(self.connection),
                topic: self.name.to_owned(),
                partition: i32::try_from(partition)?,
                start: match start {
                    StartAt::Earliest => Start::Earliest,
                    StartAt::Latest => Start::Latest,
                },
            })
        };
        let source = config().and_then(|config| Ok(KafkaSource::new(config)?));
        match source {
            Ok(source) => Ok(Box::new(source)),
            Err(error) => Err(rejected(format!("read topic {}", self.name), error)),
        }
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
        let selections = self.selections()?;
        let pattern = selections
            .iter()
            .find(|it| matches!(it, Selection::Pattern(_)));
        if let (Some(pattern), StartAt::Latest) = (pattern, self.start) {
            bail!(
                "start: latest is for topics that are named, and {pattern} also means those that appear later, whose first records would be lost"
            );
        }
        if self.interval_seconds == 0 || self.stalled_seconds == 0 {
            bail!("interval_seconds and stalled_seconds must be at least 1");
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
        let act = format!("set up connector {name}");
        let reject = |error| rejected(act.as_str(), error);
        let connection = Arc::new(self.connection(name).map_err(reject)?);
        let selections = self.selections().map_err(reject)?;
        let mut found = discover(Arc::clone(&connection), selections).await?;
        for topic in self.known(name, &around.log) {
            found.entry(topic).or_insert(Presence::Missing);
        }
        let (mut all, mut absent) = (Vec::new(), Vec::new());
        for (topic, presence) in found {
            let reader = Topic {
                connection: &connection,
                name: &topic,
                start: self.start,
                log: &around.log,
            };
            let sources = match presence {
                Presence::There(partitions) => reader.sources(partitions).await,
                Presence::Missing => {
                    absent.push(self.missing(name, &topic, &around.log));
                    continue;
                }
                Presence::Unclear(error) => Err(error),
            };
            match sources {
                Ok(sources) => all.extend(sources),
                Err(why) => {
                    all.extend(reader.known_sources());
                    absent.push(Absent {
                        what: format!("topic {topic}"),
                        why,
                        weight: Weight::Wanted,
                    });
                }
            }
        }
        Ok(Sources {
            all,
            absent,
            look_again: Some(Duration::from_secs(self.interval_seconds)),
            runner: connector::Settings {
                quiet: Some(Duration::from_secs(self.stalled_seconds)),
                ..connector::Settings::default()
            },
        })
    }

    fn source_ids(&self, name: &ConnectorName, log: &SharedLog) -> Vec<SourceId> {
        let topics = self.known(name, log).into_iter().filter_map(|topic| {
            let ours = log.topic(&TopicName::new(target(name, &topic)).ok()?)?;
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
        Some(match offset_of(position)? {
            (offset, 0) => format!("offset {offset}"),
            (offset, renewals) => format!("offset {offset}, begun anew {renewals} times"),
        })
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
