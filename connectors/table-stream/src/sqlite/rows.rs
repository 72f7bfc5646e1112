//! Rows of the change table, and of tables, as changes.

use clock::Timestamp;
use connector::{Delivery, Notice, Placement};
use event::SourceId;
use event_log::TopicName;
use rusqlite::Row;

use super::layout::{Layout, Part};
use super::position::Place;
use super::stored::{Stored, value};
use crate::change::{Act, Change, Field, TableName};
use crate::outbox::notice;
use crate::{Naming, payload};

/// Values of one row of a table, from a place in a row of a query.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    row: &'a Row<'a>,
    from: usize,
    layout: &'a Layout,
}

impl<'a> Values<'a> {
    pub(super) const fn new(row: &'a Row<'a>, from: usize, layout: &'a Layout) -> Self {
        Self { row, from, layout }
    }

    /// What is shown of the row.
    pub(super) fn image(self) -> rusqlite::Result<Vec<Field<'a>>> {
        self.fields(|part| match part {
            Part::Key | Part::Plain => true,
            Part::Hidden => false,
        })
    }

    /// What identifies it.
    pub(super) fn key(self) -> rusqlite::Result<Vec<Field<'a>>> {
        self.fields(|part| part == Part::Key)
    }

    /// What it is found by.
    pub(super) fn locator(self) -> rusqlite::Result<Vec<Stored>> {
        let parts = self.layout.locator.iter();
        parts
            .map(|part| Ok(self.row.get_ref(self.from + part.column)?.into()))
            .collect()
    }

    fn fields(self, wanted: impl Fn(Part) -> bool) -> rusqlite::Result<Vec<Field<'a>>> {
        let columns = self.layout.columns.iter().enumerate();
        columns
            .filter(|(_, column)| wanted(column.part))
            .map(|(index, column)| {
                Ok(Field {
                    name: &column.name,
                    value: value(self.row.get_ref(self.from + index)?),
                })
            })
            .collect()
    }
}

/// Deliveries on their way, and the place reached with them.
#[derive(Debug)]
pub(super) struct Outbox<'a> {
    pub(super) source: &'a SourceId,
    pub(super) naming: &'a Naming,
    pub(super) place: Place,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) bytes: usize,
    pub(super) notices: Vec<Notice>,
}

/// What a change is of.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) table: &'a TableName,
    pub(super) topic: &'a TopicName,
    pub(super) at: Timestamp,
}

impl Outbox<'_> {
    /// A change of a row: of its old state, its new one, or both.
    pub(super) fn row(
        &mut self,
        act: Act,
        subject: Subject<'_>,
        old: Option<Values<'_>>,
        new: Option<Values<'_>>,
    ) -> rusqlite::Result<()> {
        let keys = match new.or(old) {
            Some(values) => values.key()?,
            None => Vec::new(),
        };
        let place = self.place.next();
        let change = Change {
            act,
            table: subject.table,
            keys,
            new: new.map(Values::image).transpose()?,
            old: old.map(Values::image).transpose()?,
            unchanged: Vec::new(),
            sequence: place.sequence(),
            at: subject.at,
        };
        let record = payload::event(self.source, self.naming, &change).into_record();
        self.bytes += record.payload_len();
        self.notices
            .extend(notice(act, subject.table, place.to_position()));
        self.deliveries.push(Delivery {
            position: place.to_position(),
            topic: subject.topic.clone(),
            placement: match act {
                // What happens to a whole table comes between the changes of every row.
                Act::Truncate | Act::Gap => Placement::Every,
                Act::Insert | Act::Read | Act::Modify | Act::Remove => Placement::ByKey,
            },
            record,
        });
        Ok(())
    }

    /// A change of a whole table.
    pub(super) fn whole(&mut self, act: Act, subject: Subject<'_>) -> rusqlite::Result<()> {
        self.row(act, subject, None, None)
    }
}

/// SQLite's time in days as ours.
pub(super) fn timestamp(julian_days: f64) -> Timestamp {
    const EPOCH: f64 = 2_440_587.5;
    const DAY_MILLIS: f64 = 86_400_000.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a moment in ms is far below 2^53, and a cast of what is not saturates"
    )]
    Timestamp::from_millis(((julian_days - EPOCH) * DAY_MILLIS).round() as i64)
}
