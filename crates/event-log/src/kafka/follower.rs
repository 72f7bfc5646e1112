//! Reads the log's own topics, from their beginning and as they grow, into the view.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
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
    membership: Arc<Membership>,
    warden: Arc<Warden>,
}

impl Follower {
    pub(super) fn open(
        clients: &Clients,
        names: &Names,
        membership: Arc<Membership>,
        warden: Arc<Warden>,
    ) -> Result<Self, Error> {
        let open = || {
            let consumer: BaseConsumer = clients.reader(WAIT).create()?;
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&names.control, 0, Offset::Beginning)?;
            for shard in Shard::all() {
                let partition = i32::try_from(shard.index()).unwrap_or(i32::MAX);
                list.add_partition_offset(&names.checkpoints, partition, Offset::Beginning)?;
            }
            consumer.assign(&list)?;
            Ok(consumer)
        };
        Ok(Self {
            consumer: open().map_err(|error| failed("read the log's checkpoints", error))?,
            membership,
            warden,
        })
    }

    /// Reads until `stop`.
    pub(super) fn run(self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let message = match self.consumer.poll(TICK) {
                Some(Ok(message)) => message,
                None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
                Some(Err(error)) => {
                    tracing::debug!(%error, "following the checkpoints");
                    continue;
                }
            };
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
