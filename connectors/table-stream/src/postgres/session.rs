//! One connection's work: first the snapshot, then the stream.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use connector::{Batch, SourceError};
use event::SourceId;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::catalog::{Catalog, part};
use super::failure::{rejected, unavailable, wire};
use super::pgoutput::{Identity, Relation, Role};
use super::position::State;
use super::snapshot::Reader;
use super::stream::{Found, Step, Stream};
use super::value::Kind;
use super::view::View;
use super::wire::{Answer, Frame, Replication};
use super::{Lsn, PostgresConfig};
use crate::change::{TableName, topic};
use crate::coverage::Chunk;
use crate::outbox::Outbox;
use crate::position::Place;
use crate::table::{Column, Part, Table};
use crate::window::{Shown, shown};

/// Log of others that goes by before the position is written without a change of ours.
const QUIET_BYTES: u64 = 1 << 20;
/// How often the slot is looked at while the server keeps in touch.
const LOOK: Duration = Duration::from_secs(5);

/// An open connection.
pub(super) struct Session {
    pub(super) id: SourceId,
    pub(super) config: Arc<PostgresConfig>,
    pub(super) clock: SharedClock,
    pub(super) catalog: Catalog,
    pub(super) connection: Replication,
    /// The snapshot, until all of it was read.
    pub(super) reader: Option<Reader>,
    pub(super) stream: Stream,
    pub(super) place: Place,
    pub(super) state: State,
    /// What the server was told last.
    pub(super) acknowledged: Lsn,
    /// How far the server was when it was heard last.
    pub(super) server_end: Lsn,
    /// The position that was handed over last.
    pub(super) handed_over: Lsn,
    pub(super) alarm: Alarm,
    pub(super) looked: Instant,
    /// A table that has to be read before the stream goes on: with the next connection.
    pub(super) newcomer: Option<TableName>,
    pub(super) copying: Copying,
    pub(super) told: Told,
}

/// Whether the position up to a table that has to be read was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    NotYet,
    All,
}

/// Whether the stream was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copying {
    NotYet,
    Begun,
}

impl Session {
    /// Waits for something to hand over.
    pub(super) async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        if !self.state.coverage.gaps.is_empty() {
            return Ok(self.tell_gaps());
        }
        if let Some(reader) = &mut self.reader {
            match reader.next(max_bytes).await? {
                Some(chunk) => return self.hand_over(chunk),
                None => self.reader = None,
            }
        }
        self.begin_stream().await?;
        self.read_stream(max_bytes).await
    }

    /// Asks for the stream, unless that was done or a snapshot comes first.
    pub(super) async fn begin_stream(&mut self) -> Result<(), SourceError> {
        if self.copying == Copying::Begun || self.reader.is_some() {
            return Ok(());
        }
        let start = format!(
            "START_REPLICATION SLOT {} LOGICAL {} \
             (proto_version '2', streaming 'on', publication_names '{}')",
            super::catalog::quoted(&self.config.slot()),
            self.state.flushed,
            super::catalog::quoted(&self.config.publication()).replace('\'', "''"),
        );
        self.connection
            .start(&start)
            .await
            .map_err(wire("begin the stream"))?;
        self.copying = Copying::Begun;
        Ok(())
    }

    /// Everything below `flushed` is durable in our log.
    pub(super) async fn acknowledge(&mut self, flushed: Lsn) -> Result<(), SourceError> {
        // Before a gap the log may have been another one, and have gone further.
        let known = flushed.min(self.state.flushed);
        self.acknowledged = self.acknowledged.max(known);
        if self.copying == Copying::NotYet {
            return Ok(());
        }
        let now = self.clock.now();
        self.connection
            .acknowledge(self.acknowledged, now)
            .await
            .map_err(wire("acknowledge the stream"))
    }

    fn tell_gaps(&mut self) -> Batch {
        let mut outbox = Outbox::default();
        let at = self.clock.now();
        let gaps = std::mem::take(&mut self.state.coverage.gaps);
        outbox.add_gaps(&self.id, &self.config.naming, &gaps, &mut self.place, at);
        outbox.into_batch(self.place, &self.state)
    }

    fn hand_over(&mut self, chunk: Chunk<Kind, View>) -> Result<Batch, SourceError> {
        let mut outbox = Outbox::default();
        let at = self.clock.now();
        let (naming, place) = (&self.config.naming, &mut self.place);
        let read = outbox.add_rows(&self.id, naming, &chunk.table, &chunk.rows, place, at);
        read.map_err(|error| rejected("read a snapshot", error))?;
        self.state.coverage.has_read(chunk.window);
        Ok(outbox.into_batch(self.place, &self.state))
    }

    async fn read_stream(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        let mut outbox = Outbox::default();
        loop {
            if let Some(name) = &self.newcomer
                && self.told == Told::All
            {
                let text = format!("table {name} is to be read from its beginning");
                return Err(unavailable("read the stream", text));
            }
            if self.newcomer.is_some() || outbox.bytes() >= max_bytes {
                return Ok(self.batch(outbox));
            }
            if let Some(step) = self.stream.replayed().await? {
                self.take(step, &mut outbox).await?;
                continue;
            }
            // The rest of a transaction is on its way for sure.
            let frame = match self.stream.is_between_transactions() {
                true => match self.connection.frame_at_hand() {
                    Ok(None) if self.is_worth_telling(&outbox) => return Ok(self.batch(outbox)),
                    Ok(None) => self.connection.frame().await,
                    Ok(Some(frame)) => Ok(frame),
                    Err(error) => Err(error),
                },
                false => self.connection.frame().await,
            };
            match frame {
                Ok(frame) => self.frame(frame, &mut outbox).await?,
                Err(_) if self.is_worth_telling(&outbox) => return Ok(self.batch(outbox)),
                Err(error) => return Err(wire("read the stream")(error)),
            }
        }
    }

    fn is_worth_telling(&self, outbox: &Outbox) -> bool {
        !outbox.is_empty() || self.state.flushed.since(self.handed_over) >= QUIET_BYTES
    }

    fn batch(&mut self, outbox: Outbox) -> Batch {
        if self.newcomer.is_some() {
            self.told = Told::All;
        }
        self.handed_over = self.state.flushed;
        let behind = self.server_end.since(self.acknowledged);
        self.alarm.behind(&self.id, behind);
        outbox.into_batch(self.place, &self.state)
    }

    async fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Result<(), SourceError> {
        match frame {
            Frame::Change { end, message } => {
                self.server_end = end;
                let folder = Arc::clone(&self.config);
                let step = self.stream.message(message, &folder.spool_folder).await?;
                self.take(step, outbox).await
            }
            Frame::KeepAlive { end, answer } => {
                self.server_end = end;
                self.alarm.behind(&self.id, end.since(self.acknowledged));
                if self.stream.is_between_transactions() && end > self.state.flushed {
                    self.reached(end);
                }
                if answer == Answer::Wanted {
                    self.acknowledge(self.acknowledged).await?;
                }
                if self.looked.elapsed() >= LOOK {
                    self.looked = Instant::now();
                    if let Some(slot) = self.catalog.slot(&self.config.slot()).await? {
                        self.alarm.retained(&self.id, slot.retained);
                    }
                }
                Ok(())
            }
        }
    }

    async fn take(&mut self, step: Step, outbox: &mut Outbox) -> Result<(), SourceError> {
        match step {
            Step::Nothing => {}
            Step::Table(relation) => self.describe(relation).await?,
            Step::Changes(found) => {
                for change in found {
                    self.deliver(&change, outbox)?;
                }
            }
            Step::Committed(commit) => self.reached(commit.end),
        }
        Ok(())
    }

    /// Everything that committed below `end` was handed over.
    fn reached(&mut self, end: Lsn) {
        self.state.flushed = self.state.flushed.max(end);
        let windows = &mut self.state.coverage.windows;
        windows.retain(|window| window.view.until > end);
        self.place = self.place.past(end.get());
    }

    fn deliver(&mut self, found: &Found, outbox: &mut Outbox) -> Result<(), SourceError> {
        let Some(transaction) = &self.stream.transaction else {
            return Ok(());
        };
        let (xid, at) = (transaction.xid, transaction.at);
        let place = transaction.place(self.place.generation, found.number);
        if place <= self.place || self.newcomer.is_some() {
            return Ok(());
        }
        self.place = place;
        let name = &found.table.name;
        let text = |column: &str| found.text(column).map(Cow::Borrowed);
        match shown(&self.state.coverage.windows, name, found.act, xid, text) {
            Shown::No => {}
            Shown::Yes => return Ok(()),
            Shown::InPart => {
                self.read_again(&found.table.name);
                return Ok(());
            }
        }
        let rows = found.rows();
        let change = found.table.change(found.act, &rows, place.sequence(), at);
        let change = change.map_err(|error| rejected("read a change", error))?;
        outbox.add(
            &self.id,
            &self.config.naming,
            &found.table.topic,
            place,
            &change,
        );
        Ok(())
    }

    /// Has a table forgotten and read from its beginning: it was emptied between two parts of its
    /// snapshot, and no event can say so of one part.
    fn read_again(&mut self, name: &TableName) {
        self.state.coverage.read_again(name);
        self.newcomer = Some(name.clone());
    }

    async fn describe(&mut self, relation: Relation) -> Result<(), SourceError> {
        let name = TableName {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
        };
        if !self.state.coverage.tables.contains_key(&name) {
            self.newcomer.get_or_insert(name.clone());
        }
        let act = format!("describe table {name}");
        let client = self.catalog.connection().await?;
        // With its whole row for an identity, a table does not say what its key is.
        let key = match relation.identity {
            Identity::Full => self.catalog.key(&client, &name).await?,
            Identity::Default | Identity::Nothing | Identity::Index => Vec::new(),
        };
        let mut columns = Vec::new();
        for column in &relation.columns {
            columns.push(Column {
                kind: self.catalog.kind(&client, column.type_oid).await?,
                part: match (relation.identity, column.role) {
                    (Identity::Full, _) => part(&column.name, &key),
                    (_, Role::Key) => Part::Key,
                    (_, Role::Plain) => Part::Plain,
                },
                name: column.name.clone(),
            });
        }
        // Without any key, a row is what it is.
        if columns.iter().all(|column| column.part == Part::Plain) {
            for column in &mut columns {
                column.part = Part::Key;
            }
        }
        let topic = topic(&self.config.naming.connection, &name);
        let table = Table {
            topic: topic.map_err(|error| rejected(act, error))?,
            name,
            columns,
        };
        self.stream.tables.insert(relation.oid, Arc::new(table));
        Ok(())
    }
}
