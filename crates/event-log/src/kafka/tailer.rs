//! One client that follows the ends of all partitions that somebody waits on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::client::{Clients, Names, TICK, failed};
use super::places::{Place, Places, index, number, stored};
use crate::{Error, Partition};

/// How long the broker holds a fetch that finds nothing: a partition that is followed anew waits
/// that long at most.
const WAIT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Tailer {
    names: Names,
    places: Arc<Places>,
    consumer: Client,
    /// One change of what is followed at a time: what the client follows is what places say.
    changing: Mutex<()>,
}

/// Has no picture of itself.
struct Client(BaseConsumer);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("client")
    }
}

impl Tailer {
    pub(super) fn open(
        clients: &Clients,
        names: Names,
        places: Arc<Places>,
    ) -> Result<Self, Error> {
        let consumer = clients.reader(WAIT).create();
        Ok(Self {
            names,
            places,
            consumer: Client(consumer.map_err(|error| failed("make a reader", error))?),
            changing: Mutex::default(),
        })
    }

    /// Follows a partition from its end on.
    pub(super) fn follow(&self, place: &Place) {
        let _one = self.changing.lock();
        let Some(from) = place.follow() else {
            return;
        };
        let mut list = TopicPartitionList::new();
        let at = rdkafka::Offset::Offset(number(from));
        let added = list.add_partition_offset(&place.outside, index(&place.name), at);
        if let Err(error) = added.and_then(|()| self.consumer.0.incremental_assign(&list)) {
            tracing::warn!(partition = %place.name, %error, "cannot follow a partition; its end is looked up at intervals");
            place.follow_no_more();
        }
    }

    /// Leaves a partition alone that nobody waits on.
    pub(super) fn follow_if_wanted(&self, place: &Place) {
        let _one = self.changing.lock();
        // Whoever begins to wait asks to follow it after that.
        if place.end.receiver_count() == 0 {
            self.leave(place);
        }
    }

    pub(super) fn follow_no_more(&self, place: &Place) {
        let _one = self.changing.lock();
        self.leave(place);
    }

    fn leave(&self, place: &Place) {
        if !place.ring.lock().follows {
            return;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&place.outside, index(&place.name));
        if let Err(error) = self.consumer.0.incremental_unassign(&list) {
            tracing::debug!(partition = %place.name, %error, "was not followed");
        }
        place.follow_no_more();
    }

    /// Takes in what is committed until `stop`.
    pub(super) fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let message = match self.consumer.0.poll(TICK) {
                Some(Ok(message)) => message,
                None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
                Some(Err(error)) => {
                    tracing::debug!(%error, "following the log");
                    continue;
                }
            };
            let Some(topic) = self.names.inside(message.topic()) else {
                continue;
            };
            let partition = Partition::new(u32::try_from(message.partition()).unwrap_or(0));
            if let Some(place) = self.places.get(&topic.partition(partition)) {
                place.push(stored(&message));
            }
        }
    }
}
