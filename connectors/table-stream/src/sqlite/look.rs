//! What has come since a place, in one read transaction.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clock::Timestamp;
use connector::SourceError;
use event_log::TopicName;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::attach::{FileId, mark};
use super::failure::{rejected, sql, unavailable};
use super::install::{FIXED_COLUMNS, Installed, Wanted, name, renew, schema};
use super::layout::Layout;
use super::position::{Place, Progress, State};
use super::rows::{Outbox, Subject, Values, timestamp};
use super::snapshot;
use super::triggers::word;
use crate::Naming;
use crate::change::{Act, TableName, topic};

const ACT: &str = "read the changes";

/// Changes that one transaction removes: the write lock is not held for longer.
const MOST_REMOVED: i64 = 10_000;

/// An open file.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) file: FileId,
    pub(super) wanted: Wanted,
    pub(super) naming: Naming,
    pub(super) installed: Installed,
    /// Tables whose topics were announced.
    pub(super) announced: BTreeSet<String>,
    /// The version of the data of which nothing is left to read.
    pub(super) exhausted: Option<i64>,
}

/// What a look has found.
pub(super) struct Found {
    pub(super) deliveries: Vec<connector::Delivery>,
    pub(super) notices: Vec<connector::Notice>,
    pub(super) place: Place,
    pub(super) state: State,
    /// Changes that wait behind these.
    pub(super) waiting: i64,
    /// A table whose topic has to be announced before it is read.
    pub(super) newcomer: Option<String>,
}

/// Whether a look was at all of what there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    End,
    Bound,
}

struct Named {
    table: TableName,
    topic: TopicName,
}

impl Reader {
    /// Looks at what has come after `place`, about `max_bytes` of it; `None` when nothing has.
    pub(super) fn look(
        &mut self,
        place: Place,
        mut state: State,
        max_bytes: usize,
        now: Timestamp,
    ) -> Result<Option<Found>, SourceError> {
        if FileId::of(&self.path)? != self.file {
            return Err(unavailable(ACT, "the file was replaced by another"));
        }
        if self.exhausted.is_some() && self.exhausted == Some(self.data_version()?) {
            return Ok(None);
        }
        self.keep_up()?;
        let version = self.data_version()?;
        let transaction = self.connection.unchecked_transaction().map_err(sql(ACT))?;
        if schema(&transaction).map_err(sql(ACT))? != self.installed.schema {
            // Changed again just now: the next look keeps up.
            return self.nothing_yet(place, state);
        }
        if mark(&transaction).map_err(sql(ACT))?.as_ref() != Some(&state.mark) {
            return Err(unavailable(ACT, "the file is not marked as ours any more"));
        }
        let mut outbox = Outbox {
            source: &self.wanted.source,
            naming: &self.naming,
            place,
            deliveries: Vec::new(),
            bytes: 0,
            notices: Vec::new(),
        };
        let reading = Reading {
            transaction: &transaction,
            installed: &self.installed,
            connection: &self.naming.connection,
            now,
            max_bytes,
        };
        reading.tell_gaps(&mut state, &mut outbox)?;
        let mut reached = reading.changes(&mut state, &mut outbox)?;
        let mut newcomer = None;
        if reached == Reached::End
            && let Some(table) = reading.unread(&state)
        {
            match self.announced.contains(&table) {
                true => reached = reading.rows(&table, &mut state, &mut outbox)?,
                false => newcomer = Some(table),
            }
        }
        let newest = "SELECT max(change) FROM _tidemill_changes";
        let newest: i64 = transaction
            .query_row(newest, [], |row| row.get(0))
            .map_err(sql(ACT))?;
        let Outbox {
            place: new_place,
            deliveries,
            notices,
            ..
        } = outbox;
        let more = reached == Reached::Bound || reading.unread(&state).is_some();
        transaction.commit().map_err(sql(ACT))?;
        self.exhausted = (!more).then_some(version);
        if new_place == place && newcomer.is_none() {
            return Ok(None);
        }
        Ok(Some(Found {
            deliveries,
            notices,
            waiting: newest - new_place.change,
            place: new_place,
            state,
            newcomer,
        }))
    }

    fn nothing_yet(&self, place: Place, state: State) -> Result<Option<Found>, SourceError> {
        Ok(Some(Found {
            deliveries: Vec::new(),
            notices: Vec::new(),
            place,
            state,
            waiting: 0,
            newcomer: None,
        }))
    }

    /// Makes the triggers fit the tables again, if these have changed.
    fn keep_up(&mut self) -> Result<(), SourceError> {
        if schema(&self.connection).map_err(sql(ACT))? != self.installed.schema {
            self.installed = renew(&mut self.connection, &self.wanted)?;
        }
        Ok(())
    }

    /// A number that moves when anybody else has written.
    fn data_version(&self) -> Result<i64, SourceError> {
        let version = self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0));
        version.map_err(sql(ACT))
    }

    /// Removes changes before `change`, the oldest first, and says how many are left of them.
    pub(super) fn forget(&mut self, change: i64, ours: &str) -> rusqlite::Result<i64> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if mark(&transaction)?.as_deref() != Some(ours) {
            return Ok(0);
        }
        let oldest = "SELECT min(change) FROM _tidemill_changes";
        let oldest: i64 = transaction.query_row(oldest, [], |row| row.get(0))?;
        let to = change.min(oldest.saturating_add(MOST_REMOVED));
        let sql = "DELETE FROM _tidemill_changes WHERE change < ?1";
        transaction.execute(sql, params![to])?;
        transaction.commit()?;
        Ok(change - to)
    }
}

/// One read transaction.
struct Reading<'a> {
    transaction: &'a Transaction<'a>,
    installed: &'a Installed,
    connection: &'a str,
    now: Timestamp,
    max_bytes: usize,
}

impl Reading<'_> {
    fn named(&self, table: &str) -> Result<Named, SourceError> {
        let table = name(table);
        let topic = topic(self.connection, &table);
        let topic = topic.map_err(|error| rejected(format!("read table {table}"), error))?;
        Ok(Named { table, topic })
    }

    fn tell_gaps(&self, state: &mut State, outbox: &mut Outbox<'_>) -> Result<(), SourceError> {
        for table in std::mem::take(&mut state.gaps) {
            let named = self.named(&table)?;
            let subject = named.subject(self.now);
            outbox.whole(Act::Gap, subject).map_err(sql(ACT))?;
        }
        Ok(())
    }

    /// Hands over the changes after the outbox's place.
    fn changes(&self, state: &mut State, outbox: &mut Outbox<'_>) -> Result<Reached, SourceError> {
        let sql_text = "SELECT * FROM _tidemill_changes WHERE change >= ?1 ORDER BY change";
        let mut statement = self.transaction.prepare(sql_text).map_err(sql(ACT))?;
        let from = params![outbox.place.change];
        let mut rows = statement.query(from).map_err(sql(ACT))?;
        let last = rows.next().map_err(sql(ACT))?;
        let last = last.map(|row| row.get(0)).transpose().map_err(sql(ACT))?;
        if last != Some(outbox.place.change) {
            return Err(unavailable(
                ACT,
                "the last change that was read is not there",
            ));
        }
        while let Some(row) = rows.next().map_err(sql(ACT))? {
            if outbox.bytes >= self.max_bytes {
                return Ok(Reached::Bound);
            }
            let change: i64 = row.get(0).map_err(sql(ACT))?;
            if change != outbox.place.change + 1 {
                let text = format!("change {} is missing", outbox.place.change + 1);
                return Err(unavailable(ACT, text));
            }
            outbox.place = Place {
                generation: outbox.place.generation,
                change,
                event: 0,
            };
            let at = timestamp(row.get(1).map_err(sql(ACT))?);
            state.at = at.as_millis();
            let layout: i64 = row.get(2).map_err(sql(ACT))?;
            let op: String = row.get(3).map_err(sql(ACT))?;
            if op == word::BEGIN {
                continue;
            }
            let layout = self.installed.layouts.get(&layout);
            let layout = layout
                .ok_or_else(|| rejected(ACT, format!("change {change} has no known layout")))?;
            self.change(&op, layout, row, at, state, outbox)?;
        }
        Ok(Reached::End)
    }

    fn change(
        &self,
        op: &str,
        layout: &Layout,
        row: &Row<'_>,
        at: Timestamp,
        state: &mut State,
        outbox: &mut Outbox<'_>,
    ) -> Result<(), SourceError> {
        let table = layout.table.as_str();
        let progress = state.tables.get(table).unwrap_or(&Progress::Unread);
        if *progress == Progress::Unread && !matches!(op, word::TRUNCATE | word::GAP) {
            return Ok(());
        }
        let named = self.named(table)?;
        let subject = named.subject(at);
        let first = Values::new(row, FIXED_COLUMNS, layout);
        let shown = |values: Values<'_>| {
            snapshot::has_read(self.transaction, layout, progress, &values.locator()?)
        };
        let done = match op {
            word::INSERT => shown(first).and_then(|shown| match shown {
                true => outbox.row(Act::Insert, subject, None, Some(first)),
                false => Ok(()),
            }),
            word::REFRESH => shown(first).and_then(|shown| match shown {
                true => outbox.row(Act::Modify, subject, None, Some(first)),
                false => Ok(()),
            }),
            word::REMOVE => shown(first).and_then(|shown| match shown {
                true => outbox.row(Act::Remove, subject, Some(first), None),
                false => Ok(()),
            }),
            word::MODIFY => {
                let new = Values::new(row, FIXED_COLUMNS + layout.columns.len(), layout);
                modify(subject, (first, shown(first)), (new, shown(new)), outbox)
            }
            word::TRUNCATE => {
                let known = state.tables.remove(table);
                if self.installed.active.contains_key(table) {
                    state.tables.insert(table.to_owned(), Progress::Unread);
                }
                match known {
                    None | Some(Progress::Unread) => Ok(()),
                    Some(Progress::UpTo(_) | Progress::Whole) => {
                        outbox.whole(Act::Truncate, subject)
                    }
                }
            }
            word::GAP => {
                let known = state.tables.insert(table.to_owned(), Progress::Unread);
                match known {
                    None | Some(Progress::Unread) => Ok(()),
                    Some(Progress::UpTo(_) | Progress::Whole) => outbox.whole(Act::Gap, subject),
                }
            }
            other => return Err(rejected(ACT, format!("a change is called {other:?}"))),
        };
        done.map_err(sql(ACT))
    }

    /// A table of which rows are to be read.
    fn unread(&self, state: &State) -> Option<String> {
        let unread = |table: &&String| state.tables.get(*table) != Some(&Progress::Whole);
        self.installed.active.keys().find(unread).cloned()
    }

    fn rows(
        &self,
        table: &str,
        state: &mut State,
        outbox: &mut Outbox<'_>,
    ) -> Result<Reached, SourceError> {
        let id = self.installed.active.get(table);
        let layout: &Arc<Layout> = id
            .and_then(|id| self.installed.layouts.get(id))
            .ok_or_else(|| rejected(ACT, format!("table {table} has no layout")))?;
        let named = self.named(table)?;
        let subject = named.subject(self.now);
        let progress = state.tables.get(table).unwrap_or(&Progress::Unread);
        let max_bytes = self.max_bytes;
        let read = snapshot::read(
            self.transaction,
            layout,
            progress,
            subject,
            max_bytes,
            outbox,
        );
        let progress = read.map_err(sql(&format!("read the rows of table {table}")))?;
        // A table without a row has come further, too.
        outbox.place.event += 1;
        let reached = match &progress {
            Progress::Whole => Reached::End,
            Progress::Unread | Progress::UpTo(_) => Reached::Bound,
        };
        state.tables.insert(table.to_owned(), progress);
        Ok(reached)
    }
}

impl Named {
    const fn subject(&self, at: Timestamp) -> Subject<'_> {
        Subject {
            table: &self.table,
            topic: &self.topic,
            at,
        }
    }
}

/// A row that was changed. Under another key it is one removed and another inserted; and a row that
/// moves past the end of what a snapshot has read comes again from there.
fn modify<'a>(
    subject: Subject<'_>,
    (old, old_shown): (Values<'a>, rusqlite::Result<bool>),
    (new, new_shown): (Values<'a>, rusqlite::Result<bool>),
    outbox: &mut Outbox<'_>,
) -> rusqlite::Result<()> {
    match (old_shown?, new_shown?) {
        (true, true) if old.key()? == new.key()? => {
            outbox.row(Act::Modify, subject, Some(old), Some(new))
        }
        (true, true) => {
            outbox.row(Act::Remove, subject, Some(old), None)?;
            outbox.row(Act::Insert, subject, None, Some(new))
        }
        (true, false) => outbox.row(Act::Remove, subject, Some(old), None),
        (false, true) => outbox.row(Act::Insert, subject, None, Some(new)),
        (false, false) => Ok(()),
    }
}
