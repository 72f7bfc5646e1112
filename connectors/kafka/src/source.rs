//! The contract, kept with librdkafka.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connector::{Batch, Delivery, Placement, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::{Partition, TopicName};
use futures::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::complaint::{Failure, MOMENT};
use crate::discovery::ANSWER;
use crate::failure::{classify, rejected, unavailable};
use crate::lag::{Heard, Look};
use crate::position::{Begin, PositionError};
use crate::{Config, decode, position};

/// One partition of a topic on a foreign cluster.
pub struct KafkaSource {
    id: SourceId,
    topic: TopicName,
    target: Partition,
    config: Config,
    session: Option<Session>,
}

/// An open connection.
struct Session {
    consumer: Arc<StreamConsumer<Heard>>,
    /// The next offset to hand over.
    next: i64,
    /// Whether the log knows where this source begins.
    begin: BeginIs,
    /// Found while a batch was filled, to be told with the next call.
    failure: Option<KafkaError>,
    /// What the watchdog has seen.
    watched: Option<Look>,
}

/// Whether the log knows where a source begins. Until it does, a restart might begin elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BeginIs {
    Known,
    ToBeTold,
}

/// What the cluster says of a partition.
struct Described {
    consumer: StreamConsumer<Heard>,
    partitions: usize,
    first: i64,
    end: i64,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource")
            .field("id", &self.id)
            .field("config", &self.config)
            .field("open", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// `kafka.<connection>.<topic>` is no legal name for our topic, or the partition is negative.
    pub fn new(config: Config) -> Result<Self, event_log::Error> {
        let (connection, topic) = (&config.connection.name, &config.topic);
        let name = TopicName::new(format!("kafka.{connection}.{topic}"))?;
        let target = u32::try_from(config.partition).map(Partition::new);
        let target = target.map_err(|_| event_log::Error::InvalidTopicName {
            name: format!("{name}, partition {}", config.partition),
        })?;
        Ok(Self {
            id: SourceId::new(format!("/kafka/{connection}/{topic}/{target}")),
            topic: name,
            target,
            config,
            session: None,
        })
    }

    async fn describe(&self) -> Result<Described, SourceError> {
        let config = self.config.clone();
        let runtime = tokio::runtime::Handle::current();
        let describe = move || -> Result<Described, Failure> {
            let Config {
                topic, partition, ..
            } = &config;
            let end = Heard::nothing(topic.clone(), *partition);
            let consumer: StreamConsumer<Heard> =
                config.connection.client().create_with_context(end)?;
            let metadata = consumer.context().complaints.metadata(
                |wait| consumer.fetch_metadata(Some(topic), wait),
                || {
                    let next = || tokio::time::timeout(MOMENT, consumer.recv());
                    while runtime.block_on(async { next().await }).is_ok() {}
                },
            )?;
            let partitions = metadata
                .topics()
                .first()
                .map_or(0, |found| found.partitions().len());
            let (first, end) = consumer.fetch_watermarks(topic, *partition, ANSWER)?;
            Ok(Described {
                consumer,
                partitions,
                first,
                end,
            })
        };
        let (connection, act) = (
            Arc::clone(&self.config.connection),
            format!("describe {}", self.id),
        );
        // These calls of librdkafka wait on the thread that makes them.
        let described = tokio::task::spawn_blocking(move || {
            describe().map_err(|failure| failure.of(act, &connection))
        });
        described
            .await
            .map_err(|died| self.unavailable("describe", died))?
    }

    fn session(&mut self) -> Result<&mut Session, SourceError> {
        // The runner opens a source before it asks for anything.
        self.session
            .as_mut()
            .ok_or_else(|| SourceError::Unavailable {
                act: format!("read {}", self.id),
                source: "it is not open".into(),
            })
    }

    fn announce(&self, begin: Begin) {
        if begin.lost > 0 {
            metrics::counter!("tidemill_connector_lost_events_total", "source" => self.id.to_string())
                .increment(begin.lost);
            tracing::error!(
                source = %self.id,
                lost = begin.lost,
                resumed_at = begin.at,
                "the cluster has dropped records before they were copied"
            );
        }
    }

    fn unavailable(
        &self,
        verb: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> SourceError {
        unavailable(format!("{verb} {}", self.id), cause)
    }

    fn rejected(
        &self,
        verb: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> SourceError {
        rejected(format!("{verb} {}", self.id), cause)
    }

    fn classify(&self, verb: &str, error: KafkaError) -> SourceError {
        classify(format!("{verb} {}", self.id), error)
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.session = None;
        let described = self.describe().await?;
        let Described {
            consumer,
            partitions,
            first,
            end,
        } = described;
        consumer.context().end_is(end);
        let begin = position::begin(position, self.config.start, first, end)
            .map_err(|error: PositionError| self.rejected("resume", error))?;
        self.announce(begin);
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(
                &self.config.topic,
                self.config.partition,
                Offset::Offset(begin.at),
            )
            .and_then(|()| consumer.assign(&assignment))
            .map_err(|error| self.classify("assign", error))?;
        self.session = Some(Session {
            consumer: Arc::new(consumer),
            next: begin.at,
            watched: None,
            begin: match position {
                Some(_) => BeginIs::Known,
                None => BeginIs::ToBeTold,
            },
            failure: None,
        });
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        Ok(vec![TopicPlan {
            name: self.topic.clone(),
            partitions: partitions.max(1),
        }])
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        let (topic, target) = (self.topic.clone(), self.target);
        let session = self.session()?;
        if session.begin == BeginIs::ToBeTold {
            session.begin = BeginIs::Known;
            return Ok(Batch {
                deliveries: Vec::new(),
                notes: Vec::new(),
                position: position::of(session.next),
            });
        }
        let mut deliveries = Vec::new();
        let mut bytes = 0;
        let failure = match session.failure.take() {
            Some(failure) => Some(failure),
            None => loop {
                // Only the first message is waited for: from then on nothing here can be cancelled.
                let received = if deliveries.is_empty() {
                    Some(session.consumer.recv().await)
                } else if bytes < max_bytes {
                    session.consumer.recv().now_or_never()
                } else {
                    None
                };
                match received {
                    None => break None,
                    Some(Err(failure)) => break Some(failure),
                    Some(Ok(message)) => {
                        let record = decode::record(&message);
                        bytes += record.payload_len();
                        session.next = message.offset() + 1;
                        deliveries.push(Delivery {
                            position: position::of(session.next),
                            topic: topic.clone(),
                            placement: Placement::Exact(target),
                            record,
                        });
                    }
                }
            },
        };
        let next = session.next;
        match failure {
            Some(failure) if deliveries.is_empty() => {
                return Err(match failure.rdkafka_error_code() {
                    // Why, is found when it is opened again.
                    Some(Code::Authentication) => self.unavailable("read", failure),
                    _ => self.classify("read", failure),
                });
            }
            failure => session.failure = failure,
        }
        Ok(Batch {
            deliveries,
            notes: Vec::new(),
            position: position::of(next),
        })
    }

    /// Asks over the connections that records come by: where those are dead, so is the answer, and the
    /// source is opened again as well.
    async fn check(&mut self, quiet: Duration) -> Result<(), SourceError> {
        let Config {
            topic, partition, ..
        } = self.config.clone();
        let consumer = Arc::clone(&self.session()?.consumer);
        let connection = Arc::clone(&self.config.connection);
        let act = format!("ask for the end of {}", self.id);
        // This call of librdkafka waits on the thread that makes it.
        let asked = tokio::task::spawn_blocking(move || {
            let asked = consumer.fetch_watermarks(&topic, partition, quiet.min(ANSWER));
            asked.map_err(|error| {
                let complaint = consumer.context().complaints.take();
                complaint.unwrap_or(error.into()).of(act, &connection)
            })
        });
        let (_, end) = asked
            .await
            .map_err(|died| self.unavailable("ask for the end of", died))??;
        let session = self.session()?;
        let heard = session.consumer.context();
        heard.end_is(end);
        let look = heard.look(session.next, end);
        let earlier = session.watched.replace(look);
        match earlier.and_then(|earlier| look.stalled_since(&earlier)) {
            None => Ok(()),
            Some(waiting) => Err(SourceError::Stalled {
                act: format!("read {}", self.id),
                waiting,
                quiet,
            }),
        }
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let next = position::read(position).map_err(|error| self.rejected("commit", error))?;
        let Config {
            topic, partition, ..
        } = self.config.clone();
        let id = self.id.clone();
        let mut offsets = TopicPartitionList::new();
        let committed = offsets
            .add_partition_offset(&topic, partition, Offset::Offset(next))
            .and_then(|()| {
                self.session()
                    .map_err(|_| KafkaError::Canceled)?
                    .consumer
                    .commit(&offsets, CommitMode::Async)
            });
        if let Err(error) = committed {
            // Nobody reads it back; the position that counts is in our log.
            tracing::debug!(source = %id, %error, "progress could not be committed to the cluster");
        }
        Ok(())
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        position::read(one).ok().cmp(&position::read(other).ok())
    }

    fn lag(&self) -> Option<u64> {
        let session = self.session.as_ref()?;
        Some(session.consumer.context().lag(session.next))
    }
}

#[cfg(test)]
mod tests;
