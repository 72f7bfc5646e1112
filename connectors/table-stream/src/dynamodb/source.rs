//! The contract, kept with a table's stream.

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;
use clock::SharedClock;
use connector::{Batch, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::TopicName;

use super::DynamoDbConfig;
use super::position::{Reached, State};
use super::service::{Remote, Service};
use super::session::{Of, Session};
use crate::Shape;
use crate::change::TableName;
use crate::failure::{rejected, unavailable};
use crate::position::{self, Place};

/// What all tables of DynamoDB are in.
const HOME: &str = "dynamodb";

/// A DynamoDB table's stream.
pub struct DynamoDbSource {
    of: Of,
    service: Arc<dyn Service>,
    clock: SharedClock,
    session: Option<Session>,
}

/// A configuration that nothing can be read by.
#[derive(Debug, thiserror::Error)]
pub enum DynamoDbConfigError {
    /// The table's name cannot be part of a topic's name.
    #[error("table {table} of connection {connection} cannot name a topic")]
    Table {
        /// The connection.
        connection: String,
        /// The table.
        table: String,
        /// Why.
        #[source]
        source: event_log::Error,
    },
    /// Records come in the shape of DynamoDB Streams, and in no other.
    #[error("connection {connection}: tables of DynamoDB have the shape of DynamoDB Streams only")]
    Shape {
        /// The connection.
        connection: String,
    },
}

impl std::fmt::Debug for DynamoDbSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDbSource")
            .field("of", &self.of)
            .field("open", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl DynamoDbSource {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// The table's name is not usable, or another shape is asked for.
    pub fn new(config: &DynamoDbConfig, clock: SharedClock) -> Result<Self, DynamoDbConfigError> {
        Self::over(config, Arc::new(Remote::new(config)), clock)
    }

    pub(super) fn over(
        config: &DynamoDbConfig,
        service: Arc<dyn Service>,
        clock: SharedClock,
    ) -> Result<Self, DynamoDbConfigError> {
        let mut naming = config.naming.clone();
        naming.home = Some(HOME.to_owned());
        if naming.shape != Shape::DynamoDb {
            return Err(DynamoDbConfigError::Shape {
                connection: naming.connection,
            });
        }
        let table = TableName {
            schema: HOME.to_owned(),
            name: config.table.clone(),
        };
        let topic: TopicName =
            naming
                .topic(&table)
                .map_err(|source| DynamoDbConfigError::Table {
                    connection: naming.connection.clone(),
                    table: config.table.clone(),
                    source,
                })?;
        Ok(Self {
            of: Of {
                id: SourceId::new(format!("/tables/{}/{}", naming.connection, config.table)),
                naming,
                table,
                topic,
            },
            service,
            clock,
            session: None,
        })
    }
}

/// A position for people: which stream, and how many of its shards are read; `None` when it is no
/// position of such a source.
#[must_use]
pub fn show_position(position: &SourcePosition) -> Option<String> {
    let (_, state) = position::read::<State>(position).ok()?;
    let all = state.shards.len();
    let over = state.shards.values();
    let over = over.filter(|reached| **reached == Reached::End).count();
    let label = state.stream.rsplit('/').next().unwrap_or_default();
    Some(format!(
        "stream {label}, reading {} shards, {over} read to their end",
        all - over
    ))
}

#[async_trait]
impl Source for DynamoDbSource {
    fn id(&self) -> &SourceId {
        &self.of.id
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.session = None;
        let known = position.map(position::read::<State>).transpose();
        let known = known.map_err(|error| rejected(format!("resume {}", self.of.id), error))?;
        let (place, state) = match known {
            Some(known) => known,
            None => {
                let stream = self.service.newest_stream(&self.of.table.name).await?;
                let stream = stream.ok_or_else(|| {
                    let act = format!("read table {}", self.of.table.name);
                    rejected(
                        act,
                        "it has no stream: aws dynamodb update-table --table-name … \
                         --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
                    )
                })?;
                let state = State {
                    stream,
                    ..State::default()
                };
                (Place::beginning(1, 0), state)
            }
        };
        let (service, clock) = (Arc::clone(&self.service), self.clock.clone());
        self.session = Some(Session::new(self.of.clone(), service, clock, place, state));
        Ok(vec![TopicPlan {
            name: self.of.topic.clone(),
            partitions: self.of.naming.partitions.max(1),
        }])
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        match &mut self.session {
            Some(session) => session.next(max_bytes).await,
            None => Err(unavailable(
                format!("read {}", self.of.id),
                "it is not open",
            )),
        }
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        // The stream keeps its records for 24 hours, whoever has read them.
        let read = position::read::<State>(position);
        read.map_err(|error| rejected(format!("acknowledge {}", self.of.id), error))?;
        Ok(())
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        position::order(one, other)
    }

    fn lag(&self) -> Option<u64> {
        None
    }
}
