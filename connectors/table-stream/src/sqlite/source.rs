//! The contract, kept with a change table.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use clock::SharedClock;
use connector::{Batch, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use tokio_util::sync::CancellationToken;

use super::attach::{self, attach};
use super::failure::{rejected, sql, unavailable};
use super::install::{self, Wanted, name};
use super::look::Reader;
use super::position::Progress;
use super::session::Session;
use super::wake::Watch;
use super::{SqliteConfig, position};
use crate::change::topic;

/// A database file's tables.
pub struct SqliteSource {
    id: SourceId,
    config: SqliteConfig,
    clock: SharedClock,
    session: Option<Session>,
}

/// A configuration that nothing can be read by.
#[derive(Debug, thiserror::Error)]
pub enum SqliteConfigError {
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

impl std::fmt::Debug for SqliteSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteSource")
            .field("id", &self.id)
            .field("config", &self.config)
            .field("open", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl SqliteSource {
    /// A source whose file is not open yet.
    ///
    /// # Errors
    /// A table's name is not usable.
    pub fn new(config: SqliteConfig, clock: SharedClock) -> Result<Self, SqliteConfigError> {
        let connection = config.naming.connection.clone();
        for table in &config.tables {
            topic(&connection, &name(table)).map_err(|source| SqliteConfigError::Table {
                connection: connection.clone(),
                table: table.clone(),
                source,
            })?;
        }
        Ok(Self {
            id: SourceId::new(format!("/tables/{connection}")),
            config,
            clock,
            session: None,
        })
    }

    /// Takes triggers and tables of ours out of a database that is not to be read any more. What was
    /// not read by then is gone. It blocks, for up to five seconds when others hold the file's locks.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn detach(file: &Path) -> Result<(), SourceError> {
        let mut connection = attach::open(file)?;
        install::remove(&mut connection).map_err(sql("remove what was installed"))
    }

    /// The file itself, wherever a link leads to: its log lies beside it.
    fn path(&self) -> Result<PathBuf, SourceError> {
        let file = &self.config.file;
        std::fs::canonicalize(file)
            .map_err(|error| unavailable(format!("find {}", file.display()), error))
    }
}

/// A position for people: which change of the file, and how many tables are read whole; `None` when it
/// is no position of such a source.
#[must_use]
pub fn show_position(position: &SourcePosition) -> Option<String> {
    let (place, state) = position::read(position).ok()?;
    let tables = state.tables.len();
    let whole = state.tables.values();
    let whole = whole
        .filter(|progress| **progress == Progress::Whole)
        .count();
    let change = place.change;
    Some(match whole == tables {
        true => format!("change {change}"),
        false => format!("change {change}, reading rows: {whole} of {tables} tables done"),
    })
}

#[async_trait]
impl Source for SqliteSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.session = None;
        let known = position.map(position::read).transpose();
        let known = known.map_err(|error| rejected(format!("resume {}", self.id), error))?;
        let path = self.path()?;
        let act = format!("watch {}", path.display());
        let watch = Watch::of(&path).map_err(|error| unavailable(act, error))?;
        let naming = self.config.naming.clone();
        let wanted = Wanted {
            source: self.id.clone(),
            connection: naming.connection.clone(),
            tables: self.config.tables.clone(),
        };
        let (file, asked) = (path.clone(), wanted.clone());
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        let attach = move || attach(&file, &asked, known, &given_up);
        let attached = tokio::task::spawn_blocking(attach);
        let attached = attached
            .await
            .map_err(|error| unavailable(format!("open {}", self.id), error))??;
        let state = &attached.state;
        let mut plans = Vec::new();
        for table in state.tables.keys().chain(&state.gaps) {
            let topic = topic(&naming.connection, &name(table));
            plans.push(TopicPlan {
                name: topic.map_err(|error| rejected("name the topics", error))?,
                partitions: naming.partitions.max(1),
            });
        }
        let reader = Reader {
            connection: attached.connection,
            path,
            file: attached.file,
            wanted,
            naming,
            installed: attached.installed,
            announced: state.tables.keys().cloned().collect(),
            exhausted: None,
        };
        self.session = Some(Session::new(
            self.id.clone(),
            self.clock.clone(),
            watch,
            reader,
            attached.place,
            attached.state,
        ));
        Ok(plans)
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        match &mut self.session {
            Some(session) => session.next(max_bytes).await,
            None => Err(unavailable(format!("read {}", self.id), "it is not open")),
        }
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let act = format!("acknowledge {}", self.id);
        let read = position::read(position);
        let (place, state) = read.map_err(|error| rejected(act.as_str(), error))?;
        match &mut self.session {
            // Before a gap it was another file, or another history of this one.
            Some(session) if state.mark == session.state.mark => {
                session.acknowledge(place.change).await
            }
            Some(_) => Ok(()),
            None => Err(unavailable(act, "it is not open")),
        }
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        position::order(one, other)
    }

    fn lag(&self) -> Option<u64> {
        let session = self.session.as_ref()?;
        u64::try_from(session.waiting).ok()
    }
}
