//! Finding out where to go on, and whether anything was lost since.
//!
//! The file is marked with who reads it. The last change that was read stays in the file until a later
//! one is acknowledged: if it is there, with its time, and none after it is missing, nothing was lost.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use connector::SourceError;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tokio_util::sync::CancellationToken;

use super::failure::{rejected, sql, unavailable};
use super::install::{Installed, Wanted, renew};
use super::position::{Place, Progress, State};
use super::rows::timestamp;

/// How long we wait for the locks of others.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open file, and the place to go on from.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) connection: Connection,
    pub(super) installed: Installed,
    pub(super) file: FileId,
    pub(super) place: Place,
    pub(super) state: State,
}

/// Which file a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// Why changes were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Gap {
    #[error("the file has none of what was installed in it: it is another one")]
    Replaced,
    #[error("the file does not have the last change that was read: it is an older copy")]
    WentBack,
    #[error("changes were removed from the table of changes")]
    Holes,
}

impl FileId {
    pub(super) fn of(path: &Path) -> Result<Self, SourceError> {
        let found = std::fs::metadata(path);
        let found =
            found.map_err(|error| unavailable(format!("find {}", path.display()), error))?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

pub(super) fn open(path: &Path) -> Result<Connection, SourceError> {
    let act = format!("open {}", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql(&act))?;
    connection.busy_timeout(PATIENCE).map_err(sql(&act))?;
    // What others have put into the schema runs nothing here but what is harmless.
    connection
        .execute_batch("PRAGMA trusted_schema = OFF")
        .map_err(sql(&act))?;
    Ok(connection)
}

/// Attaches the file, new or known, unless `given_up` is cancelled before anything is decided: a thread
/// that nobody waits for any more must not take the file from whoever came next.
pub(super) fn attach(
    path: &Path,
    wanted: &Wanted,
    known: Option<(Place, State)>,
    given_up: &CancellationToken,
) -> Result<Attached, SourceError> {
    let file = FileId::of(path)?;
    let mut connection = open(path)?;
    let marked = mark(&connection).map_err(sql("read who reads the file"))?;
    if let (Some((_, state)), Some(marked)) = (&known, &marked)
        && state.mark != *marked
    {
        let text = "another connector has attached it since; remove this one, or add it anew";
        return Err(rejected(format!("read {}", path.display()), text));
    }
    if known.is_none() && marked.is_some() {
        tracing::warn!(source = %wanted.source, "the file is taken over from another connector");
    }
    let installed = renew(&mut connection, wanted)?;
    if known.is_none() {
        are_there(wanted, &installed)?;
    }
    let (place, mut state) = begin(&mut connection, wanted, marked, known, given_up)?;
    state.tables.retain(|table, _| wanted.is(table));
    for table in installed.active.keys() {
        let progress = state.tables.entry(table.clone());
        progress.or_insert(Progress::Unread);
    }
    Ok(Attached {
        connection,
        installed,
        file,
        place,
        state,
    })
}

/// What the file is marked with, if it is.
pub(super) fn mark(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let there = "SELECT 1 FROM sqlite_schema WHERE name = '_tidemill_source'";
    if connection
        .query_row(there, [], |_| Ok(()))
        .optional()?
        .is_none()
    {
        return Ok(None);
    }
    let sql = "SELECT mark FROM _tidemill_source";
    connection.query_row(sql, [], |row| row.get(0)).optional()
}

/// When a change was made, ms since the epoch, if it is in the file.
fn made(connection: &Connection, change: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT at FROM _tidemill_changes WHERE change = ?1";
    let at = connection.query_row(sql, params![change], |row| row.get::<_, f64>(0));
    Ok(at.optional()?.map(|at| timestamp(at).as_millis()))
}

fn begin(
    connection: &mut Connection,
    wanted: &Wanted,
    marked: Option<String>,
    known: Option<(Place, State)>,
    given_up: &CancellationToken,
) -> Result<(Place, State), SourceError> {
    const ACT: &str = "find the place in the table of changes";
    let gap = match &known {
        None => None,
        Some(_) if marked.is_none() => Some(Gap::Replaced),
        Some((place, state)) => lost(connection, *place, state).map_err(sql(ACT))?,
    };
    let (generation, gaps) = match (known, gap) {
        (Some(known), None) => return Ok(known),
        (None, _) => (1, Vec::new()),
        (Some((place, state)), Some(gap)) => {
            let source = &wanted.source;
            metrics::counter!("tidemill_connector_gaps_total", "source" => source.to_string())
                .increment(1);
            tracing::error!(
                %source,
                reason = %gap,
                "changes may have been lost; every table is read again from its beginning"
            );
            (place.generation + 1, state.tables.into_keys().collect())
        }
    };
    let begun = anew(connection, wanted, given_up).map_err(sql(ACT))?;
    let begun = begun.ok_or_else(|| unavailable(ACT, "nobody waits for it any more"))?;
    let place = Place {
        generation,
        change: begun.change,
        event: 0,
    };
    let state = State {
        mark: begun.mark,
        at: begun.at,
        gaps,
        ..State::default()
    };
    Ok((place, state))
}

/// Whether changes after `place` may be missing.
fn lost(connection: &Connection, place: Place, state: &State) -> rusqlite::Result<Option<Gap>> {
    if made(connection, place.change)? != Some(state.at) {
        return Ok(Some(Gap::WentBack));
    }
    let sql = "SELECT count(*), max(change) FROM _tidemill_changes WHERE change >= ?1";
    let (count, newest): (i64, i64) = connection.query_row(sql, params![place.change], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok((count != newest - place.change + 1).then_some(Gap::Holes))
}

struct Begun {
    mark: String,
    change: i64,
    at: i64,
}

/// Marks the file as ours, from its newest change on.
fn anew(
    connection: &mut Connection,
    wanted: &Wanted,
    given_up: &CancellationToken,
) -> rusqlite::Result<Option<Begun>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Under the write lock, so that whoever comes next comes later.
    if given_up.is_cancelled() {
        return Ok(None);
    }
    transaction.execute("DELETE FROM _tidemill_source", [])?;
    transaction.execute(
        "INSERT INTO _tidemill_source (mark, connection) VALUES (lower(hex(randomblob(16))), ?1)",
        params![wanted.connection],
    )?;
    let sql = "SELECT mark, change, at FROM _tidemill_source, _tidemill_changes \
        ORDER BY change DESC LIMIT 1";
    let begun = transaction.query_row(sql, [], |row| {
        Ok(Begun {
            mark: row.get(0)?,
            change: row.get(1)?,
            at: timestamp(row.get(2)?).as_millis(),
        })
    })?;
    transaction.commit()?;
    Ok(Some(begun))
}

/// Whoever names tables means ones that exist.
fn are_there(wanted: &Wanted, installed: &Installed) -> Result<(), SourceError> {
    let missing = wanted.tables.iter().find(|table| {
        let there = |it: &String| it.eq_ignore_ascii_case(table);
        !installed.active.keys().any(there)
    });
    match missing {
        None => Ok(()),
        Some(table) => Err(rejected(
            format!("read table {table}"),
            "there is no such table, or it is a view or a virtual one",
        )),
    }
}
