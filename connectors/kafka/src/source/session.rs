//! An open connection, and what a cluster says before there is one.

use std::sync::Arc;

use connector::SourceError;
use event::{Record, SourceId};
use rdkafka::Message as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;

use crate::complaint::{Failure, MOMENT};
use crate::discovery::ANSWER;
use crate::failure::unavailable;
use crate::lag::{Heard, Look};
use crate::position::{Fingerprint, Gap, Now, Reached};
use crate::{Config, decode};

/// How often the client is given a moment to tell the topic's id, which it knows by then if there is one.
const TRIES: usize = 5;

/// An open connection.
pub(super) struct Session {
    pub(super) consumer: Arc<StreamConsumer<Heard>>,
    /// Up to where everything was handed over.
    pub(super) reached: Reached,
    /// A record that was handed over before, to be seen again first.
    pub(super) verify: Option<Fingerprint>,
    /// Whether the log knows where this source begins.
    pub(super) begin: BeginIs,
    /// Found while a batch was filled, to be told with the next call.
    pub(super) failure: Option<Failed>,
    /// What the watchdog has seen.
    pub(super) watched: Option<Look>,
}

/// Why nothing more is read.
#[derive(Debug)]
pub(super) enum Failed {
    Client(KafkaError),
    /// The topic is another.
    Recreated,
    /// The last record that was copied is another.
    Replaced,
}

impl Session {
    /// The next record, and its offset; none of another topic. Cancel safe.
    pub(super) async fn receive(&self) -> Result<(i64, Record), Failed> {
        let identity = &self.consumer.context().identity;
        let message = tokio::select! {
            biased;
            () = identity.change() => return Err(Failed::Recreated),
            received = self.consumer.recv() => received.map_err(Failed::Client)?,
        };
        if identity.has_changed() {
            return Err(Failed::Recreated);
        }
        Ok((message.offset(), decode::record(&message)))
    }
}

/// Whether the log knows where a source begins. Until it does, a restart might begin elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BeginIs {
    Known,
    ToBeTold,
    /// And so is what was lost before it.
    After(Gap),
}

/// What the cluster says of a partition.
pub(super) struct Described {
    pub(super) consumer: StreamConsumer<Heard>,
    pub(super) partitions: usize,
    pub(super) now: Now,
}

impl Described {
    /// Makes a client and asks.
    pub(super) async fn by(config: &Config, id: &SourceId) -> Result<Self, SourceError> {
        let config = config.clone();
        let connection = Arc::clone(&config.connection);
        let act = format!("describe {id}");
        let runtime = tokio::runtime::Handle::current();
        let describe = move || -> Result<Described, Failure> {
            let Config {
                topic, partition, ..
            } = &config;
            let end = Heard::nothing(topic.clone(), *partition);
            let consumer: StreamConsumer<Heard> =
                config.connection.client().create_with_context(end)?;
            let metadata = consumer.context().complaints.metadata(
                |wait| consumer.fetch_metadata(Some(topic), wait),
                || {
                    let next = || tokio::time::timeout(MOMENT, consumer.recv());
                    while runtime.block_on(async { next().await }).is_ok() {}
                },
            )?;
            let partitions = metadata
                .topics()
                .first()
                .map_or(0, |found| found.partitions().len());
            let (first, end) = consumer.fetch_watermarks(topic, *partition, ANSWER)?;
            for _ in 0..TRIES {
                if consumer.context().identity.id().is_some() {
                    break;
                }
                let said = async { tokio::time::timeout(MOMENT, consumer.recv()).await.is_ok() };
                runtime.block_on(said);
            }
            let topic = consumer.context().identity.id();
            Ok(Described {
                consumer,
                partitions,
                now: Now { topic, first, end },
            })
        };
        // These calls of librdkafka wait on the thread that makes them.
        let described = tokio::task::spawn_blocking(move || {
            describe().map_err(|failure| failure.of(act, &connection))
        });
        match described.await {
            Ok(described) => described,
            Err(died) => Err(unavailable(format!("describe {id}"), died)),
        }
    }
}
