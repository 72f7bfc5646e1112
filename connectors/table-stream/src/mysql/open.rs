//! Finding out where to go on, and whether anything was lost since.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use clock::SharedClock;
use connector::SourceError;
use event::{SourceId, SourcePosition};

use super::failure::rejected;
use super::gap::{Gap, announce, of_refusal};
use super::logged::FileName;
use super::position::{Mark, State, View};
use super::server::{Server, options};
use super::session::{Session, Told, begin};
use super::snapshot::{Reader, Unread};
use super::stream::Stream;
use super::{MysqlAddress, MysqlConfig};
use crate::change::TableName;
use crate::coverage::Coverage;
use crate::position::{self, Place, Progress};

/// What opening needs.
pub(super) struct Opening<'a> {
    pub(super) id: &'a SourceId,
    pub(super) config: &'a Arc<MysqlConfig>,
    pub(super) address: &'a MysqlAddress,
    pub(super) tables: &'a [TableName],
    pub(super) server_id: u32,
    /// What the stream has met and could not read.
    pub(super) lost: Option<Gap>,
    pub(super) clock: &'a SharedClock,
}

impl Opening<'_> {
    pub(super) async fn open(
        self,
        position: Option<&SourcePosition>,
    ) -> Result<Session, SourceError> {
        let known = position.map(position::read::<State>).transpose();
        let known = known.map_err(|error| rejected(format!("resume {}", self.id), error))?;
        let mut server = Server::connect(options(self.config, self.address)?).await?;
        server.check().await?;
        let charsets = server.charsets().await?;
        let existing = server.existing(self.tables).await?;
        let (file, end) = server.end().await?;

        let mut gap = self.lost.clone();
        let mut binlog = None;
        if let Some((_, state)) = &known
            && gap.is_none()
        {
            gap = lost(&state.from, &server.files().await?);
            if gap.is_none() {
                match begin(&server, self.server_id, &state.from).await {
                    Ok((found, origin)) => match state.from.origin {
                        Some(known) if known != origin => gap = Some(Gap::OtherLog),
                        Some(_) | None => binlog = Some((found, origin)),
                    },
                    Err(error) => gap = Some(of_refusal(&error).ok_or(error)?),
                }
            }
        }
        let mut here = Mark {
            place: end,
            base: file.base,
            origin: None,
        };
        if known.is_none() || gap.is_some() {
            // Before anything depends on it: another log may have the place later.
            let (_, origin) = begin(&server, self.server_id, &here).await?;
            here.origin = Some(origin);
        }
        let (place, mut state) = self.resumed(known, gap, here);
        let unread = self.unread(&mut state.coverage, &existing)?;
        let reader = match unread.is_empty() {
            true => None,
            // The log waits in the server meanwhile: a connection would not be read for too long.
            false => {
                binlog = None;
                Some(Reader::new(unread))
            }
        };
        let mut stream = Stream::new(
            self.tables.iter().cloned().collect(),
            self.config.naming.clone(),
            charsets.clone(),
            self.config.spool_folder.clone(),
            state.from.clone(),
        );
        let binlog = binlog.map(|(binlog, origin)| {
            stream.mark.origin = Some(origin);
            binlog
        });
        Ok(Session {
            id: self.id.clone(),
            config: Arc::clone(self.config),
            clock: Arc::clone(self.clock),
            server,
            server_id: self.server_id,
            charsets,
            reader,
            binlog,
            stream,
            place,
            handed_over: state.from.place,
            state,
            waiting: 0,
            looked: None,
            halt: None,
            told: Told::NotYet,
        })
    }

    /// The place and state to go on from; after a gap, a new beginning that says so.
    fn resumed(
        &self,
        known: Option<(Place, State)>,
        gap: Option<Gap>,
        here: Mark,
    ) -> (Place, State) {
        let begin = |generation| Place::beginning(generation, here.place.number());
        match (known, gap) {
            (None, _) => {
                let state = State {
                    from: here.clone(),
                    ..State::default()
                };
                (begin(1), state)
            }
            (Some((place, state)), None) => (place, state),
            (Some((place, known)), Some(gap)) => {
                announce(self.id, &gap);
                let state = State {
                    from: here.clone(),
                    coverage: known.coverage.after_gap(),
                };
                (begin(place.generation + 1), state)
            }
        }
    }

    /// The tables that a snapshot must read, each behind the key that was reached.
    fn unread(
        &self,
        coverage: &mut Coverage<View>,
        existing: &HashSet<TableName>,
    ) -> Result<VecDeque<Unread>, SourceError> {
        // One that is configured again later is read again.
        coverage.tables.retain(|name, _| self.tables.contains(name));
        let mut unread = VecDeque::new();
        for name in self.tables {
            let was_known = coverage.tables.contains_key(name) || coverage.gaps.contains(name);
            let progress = coverage.tables.entry(name.clone());
            let progress = progress.or_insert(Progress::Unread);
            if !existing.contains(name) {
                if !was_known {
                    let text = "there is no such table, or the user may not read it";
                    return Err(rejected(format!("read table {name}"), text));
                }
                // It was dropped, which the stream has told or will tell.
                *progress = Progress::Whole;
            }
            match progress {
                Progress::Unread => unread.push_back((name.clone(), None)),
                Progress::UpTo(key) => unread.push_back((name.clone(), Some(key.clone()))),
                Progress::Whole => {}
            }
        }
        Ok(unread)
    }
}

/// Whether the log that follows `from` is gone, given the files that there are.
fn lost(from: &Mark, files: &[(FileName, u64)]) -> Option<Gap> {
    let first = files.first()?;
    if first.0.base != from.base {
        return Some(Gap::OtherLog);
    }
    let found = files
        .iter()
        .find(|(name, _)| name.number == from.place.file);
    match found {
        Some((_, size)) if *size < u64::from(from.place.byte) => Some(Gap::WentBack),
        Some(_) => None,
        None if from.place.file < first.0.number => Some(Gap::Purged),
        None => Some(Gap::WentBack),
    }
}

#[cfg(test)]
mod tests {
    use super::super::logged::LogPlace;
    use super::*;

    #[test]
    fn a_gap_is_found_in_whatever_way_the_log_was_lost() {
        let file = |base: &str, number, size| {
            let base = base.to_owned();
            (FileName { base, number }, size)
        };
        let files = [file("binlog", 3, 500), file("binlog", 4, 100)];
        let found = |base: &str, file, byte| {
            let mark = Mark {
                place: LogPlace { file, byte },
                base: base.to_owned(),
                origin: None,
            };
            lost(&mark, &files)
        };
        assert_eq!(found("binlog", 3, 500), None);
        assert_eq!(found("binlog", 4, 4), None);
        assert_eq!(found("binlog", 2, 4), Some(Gap::Purged));
        assert_eq!(found("binlog", 4, 101), Some(Gap::WentBack));
        assert_eq!(found("binlog", 5, 4), Some(Gap::WentBack));
        assert_eq!(found("other", 4, 4), Some(Gap::OtherLog));
    }
}
