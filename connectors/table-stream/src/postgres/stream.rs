//! The stream's messages, turned into changes with their places.
//!
//! Every change has a number in its transaction that depends on the transaction alone, not on what
//! was left out, how it was cut into batches, or whether it was streamed while it ran: so a place
//! means the same after every restart.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use connector::SourceError;

use super::Lsn;
use super::failure::{rejected, unavailable};
use super::pgoutput::{Commit, Decoded, Message, Micros, Old, Relation, Within, decode};
use super::value::Kind;
use crate::change::Act;
use crate::position::Place;
use crate::spool::{Replay, Spool};
use crate::table::{Rows, Table, Tuple};

/// Milliseconds from 1970 to 2000.
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// Where the stream stands.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) tables: HashMap<u32, Arc<Table<Kind>>>,
    /// The transaction whose block is being sent.
    block: Option<u32>,
    spools: HashMap<u32, Spool>,
    pub(super) transaction: Option<Transaction>,
    /// A transaction that was put aside and has just committed.
    committed: Option<(u32, Commit)>,
    replay: Option<(Replay, Commit)>,
}

/// A transaction whose changes are being read.
pub(super) struct Transaction {
    pub(super) xid: u32,
    pub(super) commit: Lsn,
    pub(super) at: Timestamp,
    changes: u64,
}

/// What came of a message.
pub(super) enum Step {
    /// Nothing to hand over.
    Nothing,
    /// A table as the changes from here on see it.
    Table(Relation),
    Changes(Vec<Found>),
    Committed(Commit),
}

/// A change of one row, or of a whole table.
pub(super) struct Found {
    pub(super) act: Act,
    pub(super) table: Arc<Table<Kind>>,
    /// Its number in its transaction.
    pub(super) number: u64,
    pub(super) new: Option<Tuple>,
    pub(super) old: Option<Tuple>,
    pub(super) key: Option<Tuple>,
}

impl Found {
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows {
            new: self.new.as_ref(),
            old: self.old.as_ref(),
            key: self.key.as_ref(),
        }
    }

    /// The text of a column of the row that is changed.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        let rows = [&self.new, &self.old, &self.key];
        rows.into_iter()
            .flatten()
            .find_map(|row| self.table.text(row, column))
    }
}

impl Transaction {
    pub(super) const fn place(&self, generation: u32, change: u64) -> Place {
        Place {
            generation,
            log: self.commit.get(),
            change,
            row: 0,
        }
    }
}

impl Stream {
    /// Whether every change that was sent has been handed out, but for transactions in progress.
    pub(super) const fn is_between_transactions(&self) -> bool {
        self.transaction.is_none()
    }

    /// The next message of a transaction that was put aside and has committed.
    pub(super) async fn replayed(&mut self) -> Result<Option<Step>, SourceError> {
        let act = "read a large transaction again";
        let Some((replay, commit)) = &mut self.replay else {
            return Ok(None);
        };
        let commit = *commit;
        let message = replay.next().await;
        match message.map_err(|error| unavailable(act, error))? {
            Some(message) => self.change(message, Within::Stream).map(Some),
            None => {
                self.replay = None;
                self.transaction = None;
                Ok(Some(Step::Committed(commit)))
            }
        }
    }

    /// Takes a message as it comes from the server.
    pub(super) async fn message(
        &mut self,
        message: Bytes,
        folder: &Path,
    ) -> Result<Step, SourceError> {
        if let Some(top) = self.block
            && let [
                b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M',
                a,
                b,
                c,
                d,
                ..,
            ] = message[..]
        {
            let spool = self.spools.entry(top).or_default();
            spool
                .add(u32::from_be_bytes([a, b, c, d]), &message, folder)
                .await
                .map_err(|error| unavailable("put a large transaction aside", error))?;
            return Ok(Step::Nothing);
        }
        let step = self.change(message, Within::Plain)?;
        if let Some((xid, commit)) = self.committed.take() {
            let spool = self.spools.remove(&xid).unwrap_or_default();
            let replay = spool.replay().await;
            let replay =
                replay.map_err(|error| unavailable("read a large transaction again", error))?;
            self.replay = Some((replay, commit));
        }
        Ok(step)
    }

    fn change(&mut self, message: Bytes, within: Within) -> Result<Step, SourceError> {
        let decoded = decode(message, within);
        // Another version of the protocol, or of ours.
        let Decoded { message, .. } =
            decoded.map_err(|error| rejected("read the stream's messages", error))?;
        Ok(match message {
            Message::Begin {
                commit,
                committed_at,
                xid,
            } => {
                self.transaction = Some(Transaction {
                    xid,
                    commit,
                    at: time(committed_at),
                    changes: 0,
                });
                Step::Nothing
            }
            Message::Commit(commit) => {
                self.transaction = None;
                Step::Committed(commit)
            }
            Message::Relation(relation) => Step::Table(relation),
            Message::Insert { relation, new } => {
                let number = self.number()?;
                let found = self.found(Act::Insert, relation, number)?;
                Step::Changes(vec![Found {
                    new: Some(new),
                    ..found
                }])
            }
            Message::Update { relation, old, new } => self.update(relation, old, new)?,
            Message::Delete { relation, old } => {
                let number = self.number()?;
                let found = self.found(Act::Remove, relation, number)?;
                Step::Changes(vec![found.before(old)])
            }
            Message::Truncate { relations } => {
                let mut found = Vec::new();
                for relation in relations {
                    let number = self.number()?;
                    found.push(self.found(Act::Truncate, relation, number)?);
                }
                Step::Changes(found)
            }
            Message::StreamStart { xid } => {
                self.block = Some(xid);
                Step::Nothing
            }
            Message::StreamStop => {
                self.block = None;
                Step::Nothing
            }
            Message::StreamCommit { xid, commit } => {
                self.transaction = Some(Transaction {
                    xid,
                    commit: commit.at,
                    at: time(commit.committed_at),
                    changes: 0,
                });
                self.committed = Some((xid, commit));
                Step::Nothing
            }
            Message::StreamAbort {
                xid,
                subtransaction,
            } => {
                if xid == subtransaction {
                    self.spools.remove(&xid);
                } else if let Some(spool) = self.spools.get_mut(&xid) {
                    spool.abort(subtransaction);
                }
                Step::Nothing
            }
            Message::Other => Step::Nothing,
        })
    }

    /// A changed key is a row removed and another one inserted.
    fn update(&mut self, relation: u32, old: Option<Old>, new: Tuple) -> Result<Step, SourceError> {
        let number = self.number()?;
        let modified = self.found(Act::Modify, relation, number)?;
        let moved = old.as_ref().is_some_and(|old| {
            let (Old::Key(before) | Old::Row(before)) = old;
            !modified.table.same_key(before, &new)
        });
        if !moved {
            let modified = match old {
                Some(old) => modified.before(old),
                None => modified,
            };
            return Ok(Step::Changes(vec![Found {
                new: Some(new),
                ..modified
            }]));
        }
        let removed = self.found(Act::Remove, relation, number - 1)?;
        let inserted = Found {
            act: Act::Insert,
            new: Some(new),
            // Not shown, but large values that were left alone are taken from it.
            key: old
                .clone()
                .map(|(Old::Key(before) | Old::Row(before))| before),
            ..modified
        };
        let removed = match old {
            Some(old) => removed.before(old),
            None => removed,
        };
        Ok(Step::Changes(vec![removed, inserted]))
    }

    /// The number of the next change: even, so that a changed key has room for two.
    fn number(&mut self) -> Result<u64, SourceError> {
        let transaction = self.transaction.as_mut().ok_or_else(|| {
            unavailable("read the stream", "a change came outside of a transaction")
        })?;
        transaction.changes += 2;
        Ok(transaction.changes)
    }

    fn found(&self, act: Act, relation: u32, number: u64) -> Result<Found, SourceError> {
        let table = self.tables.get(&relation).ok_or_else(|| {
            unavailable(
                "read the stream",
                "a change came before its table was described",
            )
        })?;
        Ok(Found {
            act,
            table: Arc::clone(table),
            number,
            new: None,
            old: None,
            key: None,
        })
    }
}

impl Found {
    fn before(self, old: Old) -> Self {
        match old {
            Old::Key(key) => Self {
                key: Some(key),
                ..self
            },
            Old::Row(row) => Self {
                old: Some(row),
                ..self
            },
        }
    }
}

fn time(at: Micros) -> Timestamp {
    Timestamp::from_millis(at.0.div_euclid(1000) + EPOCH_MILLIS)
}
