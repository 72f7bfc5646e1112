//! The contract, kept with the binary log.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use clock::SharedClock;
use connector::{Batch, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::TopicName;

use super::MysqlConfig;
use super::address::{MysqlAddress, NotAMysqlAddress};
use super::failure::{rejected, unavailable};
use super::gap::Gap;
use super::logged::LogPlace;
use super::open::Opening;
use super::position::State;
use super::session::{Halt, Session};
use crate::change::TableName;
use crate::position;

/// Tables of a MySQL or MariaDB server.
pub struct MysqlSource {
    id: SourceId,
    config: Arc<MysqlConfig>,
    address: MysqlAddress,
    tables: Vec<TableName>,
    server_id: u32,
    clock: SharedClock,
    /// What the stream has met since this value was made and could not read.
    lost: Option<Gap>,
    session: Option<Session>,
}

/// A configuration that nothing can be read by.
#[derive(Debug, thiserror::Error)]
pub enum MysqlConfigError {
    /// The address is none.
    #[error("the address of connection {connection} cannot be used")]
    Address {
        /// The connection.
        connection: String,
        /// Why.
        #[source]
        source: NotAMysqlAddress,
    },
    /// No table was named.
    #[error("connection {connection} names no tables")]
    NoTables {
        /// The connection.
        connection: String,
    },
    /// A table's name cannot be part of a topic's name.
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
}

impl std::fmt::Debug for MysqlSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MysqlSource")
            .field("id", &self.id)
            .field("config", &self.config)
            .field("open", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl MysqlSource {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// The address or a table's name is not usable, or there is no table.
    pub fn new(mut config: MysqlConfig, clock: SharedClock) -> Result<Self, MysqlConfigError> {
        let connection = config.naming.connection.clone();
        let address: Result<MysqlAddress, _> = config.url.parse();
        let address = address.map_err(|source| MysqlConfigError::Address {
            connection: connection.clone(),
            source,
        })?;
        config.naming.home = Some(address.database().to_owned());
        let mut tables = Vec::new();
        for text in &config.tables {
            let (schema, name) = text.split_once('.').unwrap_or((address.database(), text));
            let table = TableName {
                schema: schema.to_owned(),
                name: name.to_owned(),
            };
            let topic = config.naming.topic(&table);
            topic.map_err(|source| MysqlConfigError::Table {
                connection: connection.clone(),
                table: text.clone(),
                source,
            })?;
            tables.push(table);
        }
        tables.sort_unstable();
        tables.dedup();
        if tables.is_empty() {
            return Err(MysqlConfigError::NoTables { connection });
        }
        Ok(Self {
            id: SourceId::new(format!("/tables/{connection}")),
            server_id: config.server_id.unwrap_or_else(any_server_id),
            config: Arc::new(config),
            address,
            tables,
            clock,
            lost: None,
            session: None,
        })
    }

    /// A topic for every table that is known.
    fn plans(&self, session: &Session) -> Result<Vec<TopicPlan>, SourceError> {
        let act = "name the topics";
        let naming = &self.config.naming;
        let mut topics: BTreeMap<TopicName, &TableName> = BTreeMap::new();
        for table in session.state.coverage.written() {
            let name = naming.topic(table).map_err(|error| rejected(act, error))?;
            if let Some(other) = topics.insert(name, table)
                && other != table
            {
                let text = format!("tables {other} and {table} would share one");
                return Err(rejected(act, text));
            }
        }
        let plan = |name| TopicPlan {
            name,
            partitions: naming.partitions.max(1),
        };
        Ok(topics.into_keys().map(plan).collect())
    }
}

/// One that hardly anybody has: the upper half of all numbers, where people choose none.
fn any_server_id() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random >> 33).unwrap_or(0) | 1 << 31
}

/// A position for people: where in the server's log, and how many tables are read whole; `None` when
/// it is no position of such a source.
#[must_use]
pub fn show_position(position: &SourcePosition) -> Option<String> {
    let (place, state) = position::read::<State>(position).ok()?;
    let place = LogPlace::of_number(place.log);
    let log = format!("log {}.{place}", state.from.base);
    Some(state.coverage.shown_at(log))
}

#[async_trait]
impl Source for MysqlSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.session = None;
        let opening = Opening {
            id: &self.id,
            config: &self.config,
            address: &self.address,
            tables: &self.tables,
            server_id: self.server_id,
            lost: self.lost.clone(),
            clock: &self.clock,
        };
        let session = opening.open(position).await?;
        let plans = self.plans(&session)?;
        self.session = Some(session);
        Ok(plans)
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        // Taken out: a call that is dropped halfway leaves no half-read session behind.
        let mut session = self
            .session
            .take()
            .ok_or_else(|| unavailable(format!("read {}", self.id), "it is not open"))?;
        let batch = session.next(max_bytes).await;
        if let Some(Halt::Lost(gap)) = &session.halt {
            self.lost = Some(gap.clone());
        }
        let batch = batch?;
        self.session = Some(session);
        Ok(batch)
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let act = format!("acknowledge {}", self.id);
        let read = position::read::<State>(position);
        read.map_err(|error| rejected(&act, error))?;
        // The server keeps its log for as long as it was told to, whoever reads it.
        match &self.session {
            Some(session) if session.halt.is_none() => {
                self.lost = None;
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(unavailable(act, "it is not open")),
        }
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        position::order(one, other)
    }

    fn lag(&self) -> Option<u64> {
        // The server counts bytes of log, not changes.
        None
    }

    fn lag_bytes(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.waiting)
    }
}
