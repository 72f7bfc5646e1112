//! What is about to be handed over, and the place reached with it.

use connector::{Batch, Delivery, Placement};
use event::SourceId;

use super::position::{Place, State, resumable};
use super::table::Table;
use crate::change::{Act, Change};
use crate::{Naming, payload};

/// Deliveries on their way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    deliveries: Vec<Delivery>,
    bytes: usize,
}

impl Outbox {
    pub(super) const fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Bytes of payload so far.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(
        &mut self,
        source: &SourceId,
        naming: &Naming,
        table: &Table,
        place: Place,
        change: &Change<'_>,
    ) {
        let record = payload::event(source, naming, change).into_record();
        self.bytes += record.payload_len();
        self.deliveries.push(Delivery {
            position: place.to_position(),
            topic: table.topic.clone(),
            placement: match change.act {
                // What happens to a whole table comes between the changes of every row.
                Act::Truncate | Act::Gap => Placement::Every,
                Act::Insert | Act::Read | Act::Modify | Act::Remove => Placement::ByKey,
            },
            record,
        });
    }

    /// Everything so far, to resume after `place`.
    pub(super) fn into_batch(self, place: Place, state: &State) -> Batch {
        Batch {
            deliveries: self.deliveries,
            notes: Vec::new(),
            position: resumable(place, state),
        }
    }
}
