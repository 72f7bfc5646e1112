//! Packets of the log, turned into changes with their places.
//!
//! A transaction is put aside until it is known that it commits: what a server that crashed has left of
//! one is in its log, too, and what is prepared may be rolled back much later. Every change has a
//! number in its transaction that depends on the transaction alone, not on which tables are read or how
//! it was cut into batches: so a place means the same after every restart.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clock::Timestamp;
use connector::SourceError;

use super::charset::Charsets;
use super::event::{Packet, Rows, Type};
use super::failure::unavailable;
use super::gap::Gap;
use super::logged::LogPlace;
use super::mapped::{Mapped, Unmapped, named};
use super::position::{Mark, Origin};
use super::row::{Images, Reading, RowError, table_of};
use super::snapshot::key_text;
use super::statement::Statement;
use super::value::Kind;
use crate::Naming;
use crate::change::{Act, TableName};
use crate::spool::{Replay, Spool};
use crate::table::{self, Table, Tuple};

/// Where the stream stands.
#[derive(Debug)]
pub(super) struct Stream {
    tables: HashSet<TableName>,
    naming: Naming,
    charsets: Charsets,
    folder: PathBuf,
    /// The end of the last packet.
    pub(super) mark: Mark,
    group: Option<Group>,
    prepared: HashMap<String, Group>,
    /// Where packed packets end: those within do not say.
    payload_end: Option<u32>,
    mapped: HashMap<u64, (Vec<u8>, Arc<Mapped>)>,
    /// The transaction whose changes are being read.
    pub(super) transaction: Option<Transaction>,
}

/// A transaction that is on its way.
#[derive(Debug)]
struct Group {
    begin: Mark,
    stage: Stage,
    spool: Spool,
    /// Bytes of rows and statements so far.
    bytes: u64,
    /// Tables of ours, by the numbers that rows name them by.
    ours: HashSet<u64>,
    /// Places to go back to, each with the number of what comes after it.
    savepoints: Vec<(String, u32)>,
    /// The number of what comes now.
    part: u32,
    /// What of it cannot be told.
    unreadable: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has an id, and may be one statement alone.
    Named,
    /// Rows follow, up to its end.
    Begun,
}

/// A transaction that has committed and is being read.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Where it begins, or its commit if it was prepared.
    pub(super) begin: LogPlace,
    end: Option<LogPlace>,
    pub(super) at: Timestamp,
    replay: Replay,
}

/// What came of a packet.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing to hand over.
    Nothing,
    Changes(Vec<Found>),
    /// Tables that may have become others.
    Replaced {
        number: u64,
        tables: Vec<TableName>,
    },
    /// Everything before this place was handed out.
    Reached(LogPlace),
    /// Changes that cannot be told.
    Lost(Gap),
}

/// A change of one row, or of a whole table.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) act: Act,
    pub(super) table: Arc<Table<Kind>>,
    /// Its number in its transaction.
    pub(super) number: u64,
    pub(super) new: Option<Tuple>,
    pub(super) old: Option<Tuple>,
}

#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("{0}")]
    Table(#[from] Unmapped),
    #[error("{0}")]
    Row(#[from] RowError),
    #[error("rows of a table that was not described")]
    Unknown,
}

impl Found {
    pub(super) const fn rows(&self) -> table::Rows<'_> {
        table::Rows {
            new: self.new.as_ref(),
            old: self.old.as_ref(),
            key: None,
        }
    }

    /// The text of a column of the row that is changed, for windows to compare.
    pub(super) fn text(&self, column: &str) -> Option<String> {
        let row = self.new.as_ref().or(self.old.as_ref())?;
        key_text(&self.table, row, column)
    }
}

impl Stream {
    pub(super) fn new(
        tables: HashSet<TableName>,
        naming: Naming,
        charsets: Charsets,
        folder: PathBuf,
        mark: Mark,
    ) -> Self {
        Self {
            tables,
            naming,
            charsets,
            folder,
            mark,
            group: None,
            prepared: HashMap::new(),
            payload_end: None,
            mapped: HashMap::new(),
            transaction: None,
        }
    }

    /// Whether every change that was sent has been handed out.
    pub(super) const fn is_between_transactions(&self) -> bool {
        self.transaction.is_none() && self.group.is_none()
    }

    /// From where the log has to be read again: what is prepared is in memory only.
    pub(super) fn resumable(&self) -> Mark {
        let prepared = self.prepared.values().map(|group| &group.begin);
        let earliest = prepared.min_by_key(|mark| mark.place);
        earliest.unwrap_or(&self.mark).clone()
    }

    /// The next changes of a transaction that has committed.
    pub(super) async fn replayed(&mut self) -> Result<Option<Step>, SourceError> {
        let act = "read a transaction again";
        let Some(transaction) = &mut self.transaction else {
            return Ok(None);
        };
        let message = transaction.replay.next().await;
        let Some(message) = message.map_err(|error| unavailable(act, error))? else {
            let end = transaction.end;
            self.transaction = None;
            return Ok(Some(end.map_or(Step::Nothing, |end| self.reached(end))));
        };
        let Some((&head, body)) = message.split_first_chunk::<HEAD>() else {
            return Ok(Some(Step::Nothing));
        };
        let [kind, base @ ..] = head;
        let packet = Packet {
            kind,
            time: 0,
            server: 0,
            end: 0,
            size: 0,
            flags: 0,
            body: body.to_vec(),
        };
        let read = self.read(&packet, u64::from_be_bytes(base));
        Ok(Some(read.unwrap_or_else(|unread| {
            Step::Lost(Gap::Unreadable(unread.to_string()))
        })))
    }

    /// Takes a packet as it comes from the server.
    pub(super) async fn packet(&mut self, packet: Packet) -> Result<Step, SourceError> {
        let begin = LogPlace {
            file: self.mark.place.file,
            byte: packet.end.saturating_sub(packet.size),
        };
        let end = packet.is_in_file().then(|| LogPlace {
            file: self.mark.place.file,
            byte: self
                .payload_end
                .map_or(packet.end, |end| end.max(packet.end)),
        });
        let what = packet.what();
        match what {
            Type::Rotate => {
                // What is left of a transaction here was never committed.
                self.group = None;
                if let Some((name, place)) = packet.rotation() {
                    self.mark = Mark {
                        place,
                        base: name.base,
                        origin: self
                            .mark
                            .origin
                            .filter(|_| place.file == self.mark.place.file),
                    };
                }
                return Ok(Step::Nothing);
            }
            Type::Format => {
                self.group = None;
                self.mark.origin = Some(Origin {
                    server: packet.server,
                    begun: packet.time,
                });
                return Ok(end.map_or(Step::Nothing, |end| self.reached(end)));
            }
            Type::Gtid | Type::MariaGtid => {
                let alone = packet.body.get(12).is_none_or(|flags| flags & 1 != 0);
                let stage = match what == Type::MariaGtid && !alone {
                    true => Stage::Begun,
                    false => Stage::Named,
                };
                self.begin(begin, stage);
            }
            Type::Payload => self.payload_end = Some(packet.end),
            Type::Xid => return self.commit(packet.time, end).await,
            Type::Prepare => return self.prepare(&packet, end).await,
            Type::Query => return self.statement(packet, begin, end).await,
            Type::TableMap => {
                if let (Some(group), Ok((id, name))) = (&mut self.group, named(&packet.body)) {
                    match self.tables.contains(&name) {
                        true => {
                            group.ours.insert(id);
                            group.put(&packet, &self.folder).await?;
                        }
                        false => drop(group.ours.remove(&id)),
                    }
                }
            }
            Type::Rows(_) => {
                if let Some(group) = &mut self.group {
                    if group.has(&packet.body) {
                        group.put(&packet, &self.folder).await?;
                    }
                    group.bytes += packet.body.len() as u64;
                }
            }
            Type::Incident => {
                let what = "a note of its own that events were lost".to_owned();
                return Ok(Step::Lost(Gap::Unreadable(what)));
            }
            Type::Foreign => return Ok(self.foreign(&packet)),
            // It says how far the server is, which is how far we are.
            Type::Heartbeat | Type::Other => {
                return Ok(match end {
                    Some(end) if self.is_between_transactions() && what == Type::Other => {
                        self.reached(end)
                    }
                    Some(_) | None => Step::Nothing,
                });
            }
        }
        Ok(Step::Nothing)
    }

    fn begin(&mut self, place: LogPlace, stage: Stage) {
        self.payload_end = None;
        self.group = Some(Group {
            begin: Mark {
                place,
                ..self.mark.clone()
            },
            stage,
            spool: Spool::default(),
            bytes: 0,
            ours: HashSet::new(),
            savepoints: Vec::new(),
            part: 0,
            unreadable: None,
        });
    }

    async fn statement(
        &mut self,
        packet: Packet,
        begin: LogPlace,
        end: Option<LogPlace>,
    ) -> Result<Step, SourceError> {
        let garbled = |error| unavailable("read a statement of the log", error);
        let (database, text) = packet.statement().map_err(garbled)?;
        let statement = Statement::read(&database, &text);
        if self.group.is_none() {
            self.begin(begin, Stage::Named);
        }
        let Some(group) = &mut self.group else {
            return Ok(Step::Nothing);
        };
        match statement {
            Statement::Begin => group.stage = Stage::Begun,
            Statement::Commit => return self.commit(packet.time, end).await,
            Statement::Rollback => {
                self.group = None;
                return Ok(end.map_or(Step::Nothing, |end| self.reached(end)));
            }
            Statement::Savepoint(name) => {
                group.part += 1;
                group.savepoints.push((name, group.part));
            }
            Statement::RollbackTo(name) => group.roll_back_to(&name),
            Statement::PreparedCommit(name) => {
                let begin = group.begin.place;
                let Some(prepared) = self.prepared.remove(&name) else {
                    let what = "the end of a transaction that was prepared earlier".to_owned();
                    return Ok(Step::Lost(Gap::Unreadable(what)));
                };
                self.group = Some(prepared);
                return self.commit_at(begin, packet.time, end).await;
            }
            Statement::PreparedRollback(name) => {
                self.prepared.remove(&name);
                self.group = None;
                return Ok(end.map_or(Step::Nothing, |end| self.reached(end)));
            }
            Statement::Unlogged(of) => {
                if of.is_none_or(|name| self.tables.contains(&name)) {
                    let what = "statements in the place of rows (binlog_format was not ROW)";
                    group.unreadable.get_or_insert(what.to_owned());
                }
            }
            Statement::Emptied(_) | Statement::DatabaseDropped(_) | Statement::Replaced(_) => {
                group.put(&packet, &self.folder).await?;
                group.bytes += packet.body.len() as u64;
            }
            Statement::Other => {}
        }
        match self.group.as_ref().map(|group| group.stage) {
            // A statement alone is a transaction by itself.
            Some(Stage::Named) => self.commit(packet.time, end).await,
            Some(Stage::Begun) | None => Ok(Step::Nothing),
        }
    }

    async fn prepare(
        &mut self,
        packet: &Packet,
        end: Option<LogPlace>,
    ) -> Result<Step, SourceError> {
        let garbled = |error| unavailable("read a prepared transaction", error);
        match packet.prepared().map_err(garbled)? {
            None => self.commit(packet.time, end).await,
            Some(name) => {
                if let Some(group) = self.group.take() {
                    self.prepared.insert(name, group);
                }
                Ok(end.map_or(Step::Nothing, |end| self.reached(end)))
            }
        }
    }

    async fn commit(&mut self, time: u32, end: Option<LogPlace>) -> Result<Step, SourceError> {
        match self.group.as_ref().map(|group| group.begin.place) {
            Some(begin) => self.commit_at(begin, time, end).await,
            None => Ok(Step::Nothing),
        }
    }

    async fn commit_at(
        &mut self,
        begin: LogPlace,
        time: u32,
        end: Option<LogPlace>,
    ) -> Result<Step, SourceError> {
        self.payload_end = None;
        let Some(group) = self.group.take() else {
            return Ok(Step::Nothing);
        };
        if let Some(what) = group.unreadable {
            return Ok(Step::Lost(Gap::Unreadable(what)));
        }
        let replay = group.spool.replay().await;
        self.transaction = Some(Transaction {
            begin,
            // Places have 32 bits: after more than that there is none until the next file.
            end: end.filter(|end| *end > begin),
            at: Timestamp::from_millis(i64::from(time) * 1000),
            replay: replay.map_err(|error| unavailable("read a transaction again", error))?,
        });
        Ok(Step::Nothing)
    }

    fn reached(&mut self, end: LogPlace) -> Step {
        self.mark.place = self.mark.place.max(end);
        Step::Reached(self.mark.place)
    }

    /// Rows in another packing matter if they are of a table of ours.
    fn foreign(&mut self, packet: &Packet) -> Step {
        const ROWS: [u8; 10] = [20, 21, 22, 39, 166, 167, 168, 169, 170, 171];
        let ours = self
            .group
            .as_ref()
            .is_none_or(|group| group.has(&packet.body));
        if ROWS.contains(&packet.kind) && !ours {
            return Step::Nothing;
        }
        let what = match packet.kind {
            165..=171 => "compressed packets (log_bin_compress was not OFF)".to_owned(),
            39 => "parts of documents (binlog_row_value_options was not empty)".to_owned(),
            kind => format!("packets of the unknown type {kind}"),
        };
        Step::Lost(Gap::Unreadable(what))
    }

    /// Reads a packet of a transaction that has committed.
    fn read(&mut self, packet: &Packet, base: u64) -> Result<Step, Unread> {
        Ok(match packet.what() {
            Type::TableMap => {
                let (id, _) = named(&packet.body).map_err(Unmapped::from)?;
                let known = self.mapped.get(&id);
                if known.is_none_or(|(body, _)| *body != packet.body) {
                    let mapped = Mapped::read(&packet.body, &self.charsets, &self.naming)?;
                    let mapped = (packet.body.clone(), Arc::new(mapped));
                    self.mapped.insert(id, mapped);
                }
                Step::Nothing
            }
            Type::Rows(rows) => self.rows(packet, rows, base)?,
            Type::Query => {
                let read = packet.statement().map_err(Unmapped::from)?;
                self.whole_tables(Statement::read(&read.0, &read.1), 2 * base + 2)
            }
            _ => Step::Nothing,
        })
    }

    fn rows(&self, packet: &Packet, rows: Rows, base: u64) -> Result<Step, Unread> {
        let id = table_of(&packet.body).map_err(RowError::from)?;
        let (_, mapped) = self.mapped.get(&id).ok_or(Unread::Unknown)?;
        let mut reading = Reading::begin(&packet.body, rows, mapped)?;
        let mut found = Vec::new();
        while let Some(images) = reading.next()? {
            let number = 2 * (base + images.offset as u64);
            let table = &mapped.table;
            let change = |act, number, old, new| Found {
                act,
                table: Arc::clone(table),
                number,
                new,
                old,
            };
            let Images { before, after, .. } = images;
            match (before, after) {
                (None, after) => found.push(change(Act::Insert, number, None, after)),
                (before, None) => found.push(change(Act::Remove, number, before, None)),
                (Some(before), Some(after)) => match table.same_key(&before, &after) {
                    true => found.push(change(Act::Modify, number, Some(before), Some(after))),
                    // A changed key is a row removed and another one inserted.
                    false => {
                        found.push(change(Act::Remove, number, Some(before), None));
                        found.push(change(Act::Insert, number + 1, None, Some(after)));
                    }
                },
            }
        }
        Ok(Step::Changes(found))
    }

    fn whole_tables(&self, statement: Statement, number: u64) -> Step {
        let ours = |names: Vec<TableName>| -> Vec<TableName> {
            let mut ours: Vec<_> = names
                .into_iter()
                .filter(|name| self.tables.contains(name))
                .collect();
            ours.sort_unstable();
            ours.dedup();
            ours
        };
        let emptied = match statement {
            Statement::Emptied(names) => ours(names),
            Statement::DatabaseDropped(database) => {
                let all = self.tables.iter().filter(|name| name.schema == database);
                ours(all.cloned().collect())
            }
            Statement::Replaced(names) => {
                return Step::Replaced {
                    number,
                    tables: ours(names),
                };
            }
            _ => Vec::new(),
        };
        let found = emptied.into_iter().zip(0..).filter_map(|(name, index)| {
            Some(Found {
                act: Act::Truncate,
                number: number + index,
                table: Arc::new(Table {
                    // A name that is no topic's was refused when it was configured.
                    topic: self.naming.topic(&name).ok()?,
                    name,
                    columns: Vec::new(),
                }),
                new: None,
                old: None,
            })
        });
        Step::Changes(found.collect())
    }
}

/// Bytes before a packet that is put aside: its type, and what came before it in its transaction.
const HEAD: usize = 9;

impl Group {
    /// Whether rows are of a table of ours.
    fn has(&self, body: &[u8]) -> bool {
        table_of(body).is_ok_and(|id| self.ours.contains(&id))
    }

    /// Leaves out what came after a place: the log still has it where tables without transactions, whose
    /// changes stay, were changed, too.
    fn roll_back_to(&mut self, name: &str) {
        let found = self
            .savepoints
            .iter()
            .rposition(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some(found) = found else {
            let what = "a transaction of which an unknown part was rolled back".to_owned();
            self.unreadable.get_or_insert(what);
            return;
        };
        for part in self.savepoints[found].1..=self.part {
            self.spool.abort(part);
        }
        self.savepoints.truncate(found + 1);
        self.part += 1;
        self.savepoints[found].1 = self.part;
    }

    async fn put(&mut self, packet: &Packet, folder: &Path) -> Result<(), SourceError> {
        let mut message = Vec::with_capacity(HEAD + packet.body.len());
        message.push(packet.kind);
        message.extend_from_slice(&self.bytes.to_be_bytes());
        message.extend_from_slice(&packet.body);
        let put = self.spool.add(self.part, &message, folder).await;
        put.map_err(|error| unavailable("put a transaction aside", error))
    }
}
