//! Committed offsets of groups that nobody uses any more (Kafka's `offsets.retention.minutes`).
//!
//! A group is in use while it has members, while somebody commits for it, and while a transaction
//! holds offsets for it. Commits are stamped with their time; the stamps of a group with members
//! are renewed now and then, so that after a restart it is known when the group was last alive. What
//! is not in use for as long as the retention goes, all of the group's offsets at once: up to
//! [`RENEWALS`] of the retention late, never early. Until then a group also holds the records that it
//! has not read, where a topic keeps them for its consumers.

use std::time::Duration;

use clock::Timestamp;
use event_log::{
    Checkpoint, CheckpointUpdate, ConsumerId, Error, Rule, Settlement, TopicPartition,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::note::Note;
use crate::broker::Broker;

/// How often stamps are renewed within the retention.
const RENEWALS: u32 = 8;
/// The shortest time between two looks.
const LEAST: Duration = Duration::from_secs(1);

/// What a consumer has committed, and where.
type Committed = Vec<(TopicPartition, Checkpoint)>;

/// Renews stamps and forgets what is past its retention, until `stop`.
pub(crate) async fn run_retention(broker: &Broker, stop: CancellationToken) {
    let renewal = broker.config.offsets_retention / RENEWALS;
    loop {
        let now = broker.config.clock.now();
        let next = look(broker, now).await.unwrap_or_else(|error| {
            let cause = &error as &dyn std::error::Error;
            tracing::error!(error = cause, "groups' offsets could not be looked after");
            None
        });
        // A group that begins after this look is due later than the next one.
        let next = next.map_or(renewal, |next| next.since(now).min(renewal));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(Instant::now() + next.max(LEAST)) => {}
        }
    }
}

/// Does what is due, and says when something is due next.
async fn look(broker: &Broker, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let retention = broker.config.offsets_retention;
    let renewal = retention / RENEWALS;
    let mut next = None::<Timestamp>;
    for consumer in broker.log.consumers() {
        let Some(group) = super::group_of(&consumer) else {
            continue;
        };
        let committed = broker.log.checkpoints(&consumer);
        let stamps = committed.iter();
        let stamps = stamps.filter_map(|(_, it)| Note::decode(it.metadata.clone()).used);
        let used = stamps.max();
        let is_used = broker.groups.has_members(group)
            || committed
                .iter()
                .any(|(place, _)| broker.stored.is_staged(&consumer, place));
        let due = match used {
            // It has never been looked after.
            None => now,
            Some(used) if is_used => used.plus(renewal),
            Some(used) => used.plus(retention + renewal),
        };
        if due > now {
            next = next.into_iter().chain([due]).min();
        } else if used.is_none() || is_used {
            renew(broker, &consumer, committed, now).await?;
            next = next.into_iter().chain([now.plus(renewal)]).min();
        } else {
            forget(broker, &consumer, committed).await?;
        }
    }
    Ok(next)
}

/// Stamps the oldest of a group's checkpoints anew: one is enough.
async fn renew(
    broker: &Broker,
    consumer: &ConsumerId,
    committed: Committed,
    now: Timestamp,
) -> Result<(), Error> {
    let Some((partition, checkpoint)) = committed.into_iter().next() else {
        return Ok(());
    };
    let words = Note::decode(checkpoint.metadata).words;
    let settlement = Settlement {
        checkpoints: vec![CheckpointUpdate {
            consumer: consumer.clone(),
            partition,
            next: checkpoint.next,
            finished_above: checkpoint.finished_above,
            metadata: Note::stamped(&words, now).encode(),
            rule: Rule::Advance {
                expected_revision: checkpoint.revision,
            },
        }],
        ..Settlement::default()
    };
    match broker.log.commit(settlement).await {
        // Somebody has committed in between, or the topic is gone.
        Ok(_) | Err(Error::CheckpointConflict { .. } | Error::UnknownTopic { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn forget(broker: &Broker, consumer: &ConsumerId, committed: Committed) -> Result<(), Error> {
    let revisions = committed.into_iter();
    let revisions = revisions.map(|(place, checkpoint)| (place, checkpoint.revision));
    let gone = broker
        .stored
        .forget_checkpoints(consumer, revisions.collect())
        .await?;
    if let Some(group) = super::group_of(consumer) {
        tracing::info!(
            group,
            partitions = gone.len(),
            "unused offsets of a group were forgotten"
        );
    }
    Ok(())
}
