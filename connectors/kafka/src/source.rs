//! The contract, kept with librdkafka.

mod session;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connector::{Batch, Delivery, Notice, Placement, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::{Partition, TopicName};
use futures::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use crate::discovery::ANSWER;
use crate::failure::{classify, rejected, unavailable};
use crate::position::{Begin, Fingerprint, Gap, Last, Reached};
use crate::{Config, position};
use session::{BeginIs, Described, Failed, Session};

/// One partition of a topic on a foreign cluster.
pub struct KafkaSource {
    id: SourceId,
    topic: TopicName,
    target: Partition,
    config: Config,
    session: Option<Session>,
    /// A place at which another record was found than the one that was copied.
    replaced: Option<Reached>,
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
            replaced: None,
        })
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

    fn announce(&self, gap: &Gap) {
        let source = self.id.to_string();
        if let Gap::Expired { lost, .. } = gap {
            metrics::counter!("tidemill_connector_lost_events_total", "source" => source.clone())
                .increment(*lost);
        }
        metrics::counter!("tidemill_connector_gaps_total", "source" => source).increment(1);
        tracing::error!(source = %self.id, "{gap}");
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
        let described = Described::by(&self.config, &self.id).await?;
        let Described {
            consumer,
            partitions,
            now,
        } = described;
        consumer.context().end_is(now.end);
        let known = position.map(Reached::read).transpose();
        let known = known.map_err(|error| self.rejected("resume", error))?;
        let last = match self.replaced.take() {
            Some(replaced) if Some(replaced.order()) == known.as_ref().map(Reached::order) => {
                Last::Replaced
            }
            Some(_) | None => Last::Untouched,
        };
        let Begin {
            reached,
            verify,
            gap,
        } = position::begin(known.as_ref(), last, self.config.start, &now);
        let from = verify.map_or(reached.next, |last| last.offset);
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(
                &self.config.topic,
                self.config.partition,
                Offset::Offset(from),
            )
            .and_then(|()| consumer.assign(&assignment))
            .map_err(|error| self.classify("assign", error))?;
        self.session = Some(Session {
            consumer: Arc::new(consumer),
            reached,
            verify,
            watched: None,
            begin: match (position, gap) {
                (_, Some(gap)) => BeginIs::After(gap),
                (Some(_), None) => BeginIs::Known,
                (None, None) => BeginIs::ToBeTold,
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
        let begin = std::mem::replace(&mut session.begin, BeginIs::Known);
        if begin != BeginIs::Known {
            let position = session.reached.position();
            let gap = match begin {
                BeginIs::After(gap) => Some(gap),
                BeginIs::Known | BeginIs::ToBeTold => None,
            };
            gap.iter().for_each(|gap| self.announce(gap));
            return Ok(Batch {
                deliveries: Vec::new(),
                notices: gap
                    .map(|gap| Notice::gap(gap, position.clone()))
                    .into_iter()
                    .collect(),
                notes: Vec::new(),
                position,
            });
        }
        let mut deliveries: Vec<Delivery> = Vec::new();
        let mut bytes = 0;
        let failure = match session.failure.take() {
            Some(failure) => Some(failure),
            None => loop {
                // Only the first message is waited for: from then on nothing here can be cancelled.
                let received = if deliveries.is_empty() {
                    Some(session.receive().await)
                } else if bytes < max_bytes {
                    session.receive().now_or_never()
                } else {
                    None
                };
                match received {
                    None => break None,
                    Some(Err(failure)) => break Some(failure),
                    Some(Ok((offset, record))) => {
                        if let Some(last) = session.verify.take()
                            && last.offset == offset
                        {
                            if Fingerprint::of(offset, &record) == last {
                                continue;
                            }
                            break Some(Failed::Replaced);
                        }
                        bytes += record.payload_len();
                        session.reached.next = offset + 1;
                        deliveries.push(Delivery {
                            position: session.reached.place(),
                            topic: topic.clone(),
                            placement: Placement::Exact(target),
                            record,
                        });
                    }
                }
            },
        };
        if let Some(Delivery { record, .. }) = deliveries.last() {
            let offset = session.reached.next - 1;
            session.reached.last = Some(Fingerprint::of(offset, record));
        }
        let reached = session.reached.clone();
        match failure {
            Some(failure) if deliveries.is_empty() => {
                return Err(match failure {
                    Failed::Replaced => {
                        self.replaced = Some(reached);
                        self.unavailable("read", "another record is where the last one was copied")
                    }
                    Failed::Recreated => {
                        self.unavailable("read", "the topic was deleted and made anew")
                    }
                    // Why, is found when it is opened again.
                    Failed::Client(error)
                        if error.rdkafka_error_code() == Some(Code::Authentication) =>
                    {
                        self.unavailable("read", error)
                    }
                    Failed::Client(error) => self.classify("read", error),
                });
            }
            failure => session.failure = failure,
        }
        Ok(Batch {
            deliveries,
            notices: Vec::new(),
            notes: Vec::new(),
            position: reached.position(),
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
        let look = heard.look(session.reached.next, end);
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
        let reached = Reached::read(position).map_err(|error| self.rejected("commit", error))?;
        let Config {
            topic, partition, ..
        } = self.config.clone();
        let id = self.id.clone();
        let mut offsets = TopicPartitionList::new();
        let committed = offsets
            .add_partition_offset(&topic, partition, Offset::Offset(reached.next))
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
        let order = |position| Reached::read(position).ok().map(|reached| reached.order());
        order(one).cmp(&order(other))
    }

    fn lag(&self) -> Option<u64> {
        let session = self.session.as_ref()?;
        Some(session.consumer.context().lag(session.reached.next))
    }
}

#[cfg(test)]
mod tests;
