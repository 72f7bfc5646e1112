//! Reads the log's own topics, from their beginning and as they grow, into the view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::client::{Clients, Names, TICK, failed};
use super::fact::Fact;
use super::member::Membership;
use super::topics::Warden;
use crate::{Error, Shard};

/// Nothing is ever added to what it fetches, so that it may wait long.
const WAIT: Duration = Duration::from_secs(5);

pub(super) struct Follower {
    consumer: BaseConsumer,
    /// Where each partition is read on.
    next: Next,
    membership: Arc<Membership>,
    warden: Arc<Warden>,
}

type Next = BTreeMap<(Arc<str>, i32), Offset>;

impl Follower {
    pub(super) fn open(
        clients: &Clients,
        names: &Names,
        membership: Arc<Membership>,
        warden: Arc<Warden>,
    ) -> Result<Self, Error> {
        let shards = Shard::all().map(|shard| i32::try_from(shard.index()).unwrap_or(i32::MAX));
        let mut next: Next = shards
            .map(|shard| ((Arc::clone(&names.checkpoints), shard), Offset::Beginning))
            .collect();
        next.insert((Arc::clone(&names.control), 0), Offset::Beginning);
        let open = || {
            let consumer: BaseConsumer = clients.reader(WAIT).create()?;
            assign(&consumer, &next)?;
            Ok(consumer)
        };
        Ok(Self {
            consumer: open().map_err(|error| failed("read the log's checkpoints", error))?,
            next,
            membership,
            warden,
        })
    }

    /// Reads until `stop`.
    pub(super) fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let message = match self.consumer.poll(TICK) {
                Some(Ok(message)) => message,
                None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
                // A broker that has not heard of the new topic yet says that there is none, and the
                // client asks no second time where a partition begins.
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    std::thread::park_timeout(TICK);
                    if let Err(error) = assign(&self.consumer, &self.next) {
                        tracing::warn!(%error, "cannot follow the checkpoints");
                    }
                    continue;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "following the checkpoints");
                    continue;
                }
            };
            let place = (Arc::from(message.topic()), message.partition());
            self.next
                .insert(place, Offset::Offset(message.offset() + 1));
            let fact = message
                .key()
                .and_then(|key| Fact::decode(key, message.payload()));
            let Some(fact) = fact else {
                tracing::warn!(
                    topic = message.topic(),
                    partition = message.partition(),
                    offset = message.offset(),
                    "a record of the log's own topics cannot be read and is passed over"
                );
                continue;
            };
            self.membership.learn(&fact, message.offset());
            match fact {
                Fact::Topic { .. } => self.warden.look(),
                Fact::Checkpoint { .. }
                | Fact::Position { .. }
                | Fact::Holder { .. }
                | Fact::Epoch { .. }
                | Fact::Node { .. } => {}
            }
        }
    }
}

/// Reads every partition from its place on.
fn assign(consumer: &BaseConsumer, next: &Next) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in next {
        list.add_partition_offset(topic, *partition, *offset)?;
    }
    consumer.assign(&list)
}
