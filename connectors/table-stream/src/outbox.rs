//! What is about to be handed over, and the place reached with it.

use clock::Timestamp;
use connector::{Batch, Delivery, Notice, Placement};
use event::{Event, SourceId, SourcePosition};
use event_log::TopicName;
use serde::Serialize;

use crate::change::{Act, Change, TableName};
use crate::position::{Place, resumable};
use crate::table::{Kind, RowError, Rows, Table, Tuple};
use crate::{Naming, payload};

/// Deliveries on their way.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    deliveries: Vec<Delivery>,
    bytes: usize,
    notices: Vec<Notice>,
}

impl Outbox {
    pub(crate) const fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Bytes of payload so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn add(
        &mut self,
        source: &SourceId,
        naming: &Naming,
        topic: &TopicName,
        place: Place,
        change: &Change<'_>,
    ) {
        let record = payload::event(source, naming, change).into_record();
        self.bytes += record.payload_len();
        let told = notice(change.act, change.table, place.to_position());
        self.notices.extend(told);
        self.deliveries.push(Delivery {
            position: place.to_position(),
            topic: topic.clone(),
            placement: match change.act {
                // What happens to a whole table comes between the changes of every row.
                Act::Truncate | Act::Gap => Placement::Every,
                Act::Insert | Act::Read | Act::Modify | Act::Remove => Placement::ByKey,
            },
            record,
        });
    }

    /// An event of one row, as it is.
    pub(crate) fn add_event(&mut self, topic: &TopicName, place: Place, event: Event) {
        let record = event.into_record();
        self.bytes += record.payload_len();
        self.deliveries.push(Delivery {
            position: place.to_position(),
            topic: topic.clone(),
            placement: Placement::ByKey,
            record,
        });
    }

    /// Says to a table's readers that changes were lost.
    pub(crate) fn add_gap(
        &mut self,
        source: &SourceId,
        naming: &Naming,
        table: &TableName,
        place: Place,
        at: Timestamp,
    ) {
        // A name that is no topic's was refused when the table was first read.
        let Ok(topic) = naming.topic(table) else {
            return;
        };
        let change = Change {
            act: Act::Gap,
            table,
            keys: Vec::new(),
            new: None,
            old: None,
            unchanged: Vec::new(),
            sequence: place.sequence(),
            at,
        };
        self.add(source, naming, &topic, place, &change);
    }

    /// The same to the readers of each table, which moves `place` on.
    pub(crate) fn add_gaps(
        &mut self,
        source: &SourceId,
        naming: &Naming,
        tables: &[TableName],
        place: &mut Place,
        at: Timestamp,
    ) {
        for table in tables {
            place.row += 1;
            self.add_gap(source, naming, table, *place, at);
        }
    }

    /// Rows of a snapshot, which moves `place` on, also when there are none.
    pub(crate) fn add_rows<K: Kind>(
        &mut self,
        source: &SourceId,
        naming: &Naming,
        table: &Table<K>,
        rows: &[Tuple],
        place: &mut Place,
        at: Timestamp,
    ) -> Result<(), RowError> {
        for row in rows {
            place.row += 1;
            let row = Rows {
                new: Some(row),
                old: None,
                key: None,
            };
            let change = table.change(Act::Read, &row, place.sequence(), at)?;
            self.add(source, naming, &table.topic, *place, &change);
        }
        // A table without a row has come further, too.
        place.row += 1;
        Ok(())
    }

    /// Everything so far, to resume after `place`.
    pub(crate) fn into_batch(self, place: Place, state: &impl Serialize) -> Batch {
        Batch {
            deliveries: self.deliveries,
            notices: self.notices,
            notes: Vec::new(),
            position: resumable(place, state),
        }
    }
}

/// What is to be told of a table as a whole.
pub(crate) fn notice(act: Act, table: &TableName, position: SourcePosition) -> Option<Notice> {
    match act {
        Act::Gap => {
            let what = format!("changes of table {table} were lost before they were read");
            Some(Notice::gap(what, position))
        }
        Act::Truncate => {
            let what = format!("all rows of table {table} were removed at once");
            Some(Notice::truncation(what, position))
        }
        Act::Insert | Act::Read | Act::Modify | Act::Remove => None,
    }
}

#[cfg(test)]
mod tests {
    use connector::NoticeKind;

    use super::*;

    #[test]
    fn only_what_becomes_of_a_whole_table_is_told_of_the_source() {
        let table = TableName {
            schema: "shop".to_owned(),
            name: "orders".to_owned(),
        };
        let told = |act| notice(act, &table, SourcePosition::new("7"));
        for (act, kind) in [
            (Act::Gap, NoticeKind::Gap),
            (Act::Truncate, NoticeKind::Truncation),
        ] {
            let notice = told(act).unwrap();
            assert_eq!(notice.kind, kind);
            assert!(notice.what.contains(&table.to_string()), "{}", notice.what);
            assert_eq!(notice.position, SourcePosition::new("7"));
        }
        for act in [Act::Insert, Act::Read, Act::Modify, Act::Remove] {
            assert_eq!(told(act), None);
        }
    }
}
