//! Tells other nodes that functions, triggers or connectors have changed, and hears it from them.
//!
//! The registry's store is the truth; the topic `tidemill.registry` only says when to look again. A
//! record follows each change of this process, and one stands at each start, for a change that a
//! crash kept from being announced. A node that is given or loses work looks, too: another may have
//! vanished with a change that it did not announce. Whoever hears of one looks at the whole store, by versions, so
//! that hearing late, twice or of one's own change does no harm.

use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use event::Record;
use event_log::{
    Lifetime, Offset, RecordBatch, Settlement, Share, SharedLog, TopicConfig, TopicName,
    TopicPartition,
};
use function::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connectors::Definitions;

/// The topic of the registry's changes.
const TOPIC: &str = "tidemill.registry";
/// How long a log or a store that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the registry's memory in step with its store.
pub(crate) struct RegistryFeed {
    log: SharedLog,
    registry: Arc<Registry>,
    connectors: Arc<Definitions>,
    clock: SharedClock,
    partition: TopicPartition,
    heard: watch::Receiver<Offset>,
    written: watch::Receiver<u64>,
    connectors_written: watch::Receiver<u64>,
    share: watch::Receiver<Share>,
}

/// What is still to be done.
#[derive(Clone, Copy, Debug)]
struct Due {
    announce: bool,
    reread: bool,
}

impl RegistryFeed {
    /// Opens the topic. What is written to the store from now on will be heard.
    ///
    /// # Errors
    /// Those of the log.
    pub(crate) async fn open(
        log: SharedLog,
        registry: Arc<Registry>,
        connectors: Arc<Definitions>,
        clock: SharedClock,
    ) -> Result<Self, event_log::Error> {
        let config = TopicConfig::new(1, Lifetime::Events);
        let topic = log.ensure_topic(&TopicName::new(TOPIC)?, config).await?;
        let partition = topic.partition_for(b"");
        Ok(Self {
            heard: log.tail(&partition)?,
            written: registry.written(),
            connectors_written: connectors.written(),
            share: log.share(),
            partition,
            log,
            registry,
            connectors,
            clock,
        })
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        // The registry was read before the topic was followed: look again once it is.
        let mut due = Due {
            announce: true,
            reread: true,
        };
        loop {
            self.heard.mark_unchanged();
            self.written.mark_unchanged();
            self.connectors_written.mark_unchanged();
            self.share.mark_unchanged();
            let left = tokio::select! {
                () = stop.cancelled() => break,
                left = self.catch_up(due) => left,
            };
            let retry = async {
                match left.announce || left.reread {
                    true => tokio::time::sleep_until(Instant::now() + PAUSE).await,
                    false => std::future::pending().await,
                }
            };
            due = left;
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = self.heard.changed() => due.reread = true,
                Ok(()) = self.share.changed() => due.reread = true,
                Ok(()) = self.written.changed() => due.announce = true,
                Ok(()) = self.connectors_written.changed() => due.announce = true,
                () = retry => {}
            }
        }
        let written = [&self.written, &self.connectors_written];
        if due.announce
            || written
                .iter()
                .any(|it| it.has_changed().unwrap_or_default())
        {
            let _ = tokio::time::timeout(PAUSE, self.announce()).await;
        }
    }

    /// Does what is due, and says what could not be done.
    async fn catch_up(&self, due: Due) -> Due {
        let mut left = due;
        if due.announce {
            match self.announce().await {
                Ok(()) => left.announce = false,
                Err(error) => tracing::warn!(%error, "announce a change of the registry"),
            }
        }
        if due.reread {
            let connectors = self.connectors.reread().await;
            match (self.registry.reread().await, connectors) {
                (Ok(_), Ok(())) => left.reread = false,
                (Err(error), _) => tracing::warn!(%error, "read the registry again"),
                (_, Err(error)) => tracing::warn!(%error, "read the connectors again"),
            }
        }
        left
    }

    async fn announce(&self) -> Result<(), event_log::Error> {
        let record = Record::new(Vec::new(), self.clock.now());
        let batch = RecordBatch::of_one(record);
        let settlement = Settlement::of(self.partition.clone(), batch);
        self.log.commit(settlement).await.map(drop)
    }
}
