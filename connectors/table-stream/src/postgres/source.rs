//! The contract, kept with a replication slot.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use clock::SharedClock;
use connector::{Batch, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::TopicName;

use super::failure::{rejected, unavailable};
use super::open::Opening;
use super::position::State;
use super::session::Session;
use super::{Lsn, PostgresConfig};
use crate::change::{TableName, topic};
use crate::position;

/// A database's published tables.
pub struct PostgresSource {
    id: SourceId,
    config: Arc<PostgresConfig>,
    address: tokio_postgres::Config,
    tables: Vec<TableName>,
    clock: SharedClock,
    /// Tables that the stream has named since this value was made.
    seen: Vec<TableName>,
    session: Option<Session>,
}

/// A configuration that nothing can be read by.
#[derive(Debug, thiserror::Error)]
pub enum PostgresConfigError {
    /// The address is none.
    #[error("the address of connection {connection} is no postgres:// URL")]
    Address {
        /// The connection.
        connection: String,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
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

impl std::fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSource")
            .field("id", &self.id)
            .field("config", &self.config)
            .field("open", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl PostgresSource {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// The address or a table's name is not usable.
    pub fn new(config: PostgresConfig, clock: SharedClock) -> Result<Self, PostgresConfigError> {
        let connection = config.naming.connection.clone();
        let address = address(&config)?;
        let mut tables = Vec::new();
        for text in &config.tables {
            let (schema, name) = text.split_once('.').unwrap_or(("public", text));
            let table = TableName {
                schema: schema.to_owned(),
                name: name.to_owned(),
            };
            topic(&connection, &table).map_err(|source| PostgresConfigError::Table {
                connection: connection.clone(),
                table: text.clone(),
                source,
            })?;
            tables.push(table);
        }
        Ok(Self {
            id: SourceId::new(format!("/tables/{connection}")),
            config: Arc::new(config),
            address,
            tables,
            clock,
            seen: Vec::new(),
            session: None,
        })
    }

    /// A topic for every table that is known.
    fn plans(&self, session: &Session) -> Result<Vec<TopicPlan>, SourceError> {
        let act = "name the topics";
        let mut topics: BTreeMap<TopicName, &TableName> = BTreeMap::new();
        for table in session.state.coverage.written() {
            let name = topic(&self.config.naming.connection, table);
            let name = name.map_err(|error| rejected(act, error))?;
            if let Some(other) = topics.insert(name, table)
                && other != table
            {
                let text = format!("tables {other} and {table} would share one");
                return Err(rejected(act, text));
            }
        }
        let plan = |name| TopicPlan {
            name,
            partitions: self.config.naming.partitions.max(1),
        };
        Ok(topics.into_keys().map(plan).collect())
    }
}

/// Where to connect, with the password.
pub(super) fn address(
    config: &PostgresConfig,
) -> Result<tokio_postgres::Config, PostgresConfigError> {
    let address: Result<tokio_postgres::Config, _> = config.url.parse();
    let mut address = address.map_err(|source| PostgresConfigError::Address {
        connection: config.naming.connection.clone(),
        source,
    })?;
    if let Some(password) = &config.password {
        address.password(password);
    }
    Ok(address)
}

/// A position for people: where in the server's log, and how many tables are read whole; `None` when
/// it is no position of such a source.
#[must_use]
pub fn show_position(position: &SourcePosition) -> Option<String> {
    let (place, state) = position::read::<State>(position).ok()?;
    let log = format!("log {}", Lsn::new(place.log));
    Some(state.coverage.shown_at(log))
}

#[async_trait]
impl Source for PostgresSource {
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
            seen: &self.seen,
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
        if let Some(name) = &session.newcomer
            && !self.seen.contains(name)
        {
            self.seen.push(name.clone());
        }
        let batch = batch?;
        self.session = Some(session);
        Ok(batch)
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let (_, state) = position::read::<State>(position)
            .map_err(|error| rejected(format!("acknowledge {}", self.id), error))?;
        match &mut self.session {
            Some(session) => session.acknowledge(state.flushed).await,
            None => Err(unavailable(
                format!("acknowledge {}", self.id),
                "it is not open",
            )),
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
        let session = self.session.as_ref()?;
        Some(session.server_end.since(session.acknowledged))
    }
}
