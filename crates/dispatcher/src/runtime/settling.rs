//! One settlement of one partition: usage, dead letters and checkpoint, all or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event::Record;
use event_log::{
    Append, CheckpointUpdate, Error, Lifetime, Offset, RecordBatch, Rule, Settlement, StoredRecord,
    Topic, TopicName, TopicPartition,
};
use function::{Destination, Function, QualifiedName, Qualifier, Version};
use metering::UsageRecord;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::dead_letter::{DEAD_LETTERS, DeadLetter, Payload};
use super::feed::Feed;
use super::flight::Flown;
use super::reading;
use crate::queue::{OWN_TOPIC, own_topic};
use crate::schedule::{FlightId, GivenUp, Settle, Voided};

/// Pauses while the disk is full double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) shared: Arc<Shared>,
    pub(super) feed: Arc<Feed>,
    pub(super) place: TopicPartition,
    pub(super) settle: Settle,
    /// The flights that the settlement speaks of.
    pub(super) flown: BTreeMap<FlightId, Flown>,
    /// Records of events that were given up, as far as they are in memory.
    pub(super) records: Vec<StoredRecord>,
    /// Why records could not be decoded.
    pub(super) unreadable: BTreeMap<Offset, String>,
    /// The checkpoint's revision as it was read.
    pub(super) expected_revision: u64,
    /// Cancelled when a disk that is full is no longer waited for.
    pub(super) last_call: CancellationToken,
}

impl Outgoing {
    /// Writes it. A full disk is waited for.
    ///
    /// # Errors
    /// Nothing was written; trying again does not help.
    pub(super) async fn write(mut self) -> Result<(), Error> {
        self.complete_records().await?;
        let usage = self.usage().await?;
        let mut payload = Payload::Whole;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.commit(&usage, payload).await {
                Err(error @ Error::TooLarge { .. }) => {
                    payload = match payload {
                        Payload::Whole => Payload::Omitted,
                        Payload::Omitted => Payload::Bare,
                        Payload::Bare => return Err(error),
                    };
                }
                Err(Error::Full { source }) => {
                    tracing::warn!(place = %self.place, "cannot settle: the disk is full");
                    tokio::select! {
                        () = tokio::time::sleep_until(Instant::now() + pause) => {}
                        () = self.last_call.cancelled() => return Err(Error::Full { source }),
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }

    async fn commit(&self, usage: &[UsageRecord], payload: Payload) -> Result<(), Error> {
        let log = &self.shared.parts().log;
        let begun = self.shared.parts().clock.monotonic();
        let mut appends = Appends::default();
        if !usage.is_empty() {
            let topic = log
                .ensure_topic(&own_topic(UsageRecord::TOPIC), OWN_TOPIC)
                .await?;
            for usage in usage {
                let record = usage.to_record();
                let to = topic.partition_for(record.key.as_deref().unwrap_or_default());
                appends.add(to, record);
            }
        }
        for given_up in &self.settle.given_up {
            let (destination, record) = self.letter(given_up, payload);
            let topic = self.topic_of(&destination).await?;
            let key = record.key.as_deref();
            let to = key.map_or_else(
                || self.same_partition(&topic),
                |key| topic.partition_for(key),
            );
            appends.add(to, record);
        }
        let settlement = Settlement {
            appends: appends.into_appends(),
            checkpoints: vec![CheckpointUpdate {
                consumer: self.feed.consumer(),
                partition: self.place.clone(),
                next: self.settle.next,
                finished_above: self.settle.finished_above.clone(),
                metadata: self.settle.metadata.clone(),
                rule: Rule::Advance {
                    expected_revision: self.expected_revision,
                },
            }],
            positions: Vec::new(),
            writer: Some(self.shared.writer.clone()),
        };
        log.commit(settlement).await?;
        let took = self.shared.parts().clock.monotonic().since(begun);
        metrics::histogram!("tidemill_settle_seconds").record(took.as_secs_f64());
        Ok(())
    }

    async fn complete_records(&mut self) -> Result<(), Error> {
        let here: Vec<_> = self.records.iter().map(|stored| stored.offset).collect();
        let mut missing: Vec<_> = self
            .settle
            .given_up
            .iter()
            .map(|given_up| given_up.offset)
            .filter(|offset| here.binary_search(offset).is_err())
            .filter(|offset| !self.unreadable.contains_key(offset))
            .collect();
        missing.sort_unstable();
        let loaded = reading::load(&self.shared, &self.place, &missing).await?;
        self.records.extend(loaded);
        self.records.sort_unstable_by_key(|stored| stored.offset);
        Ok(())
    }

    /// The usage of attempts that have ended, and the void ones of those that were cut off.
    async fn usage(&self) -> Result<Vec<UsageRecord>, Error> {
        let finished = self.settle.finished.iter();
        let mut usage: Vec<_> = finished
            .filter_map(|id| self.flown.get(id)?.usage.clone())
            .collect();
        for voided in &self.settle.voided {
            usage.extend(self.void(voided).await?);
        }
        Ok(usage)
    }

    async fn void(&self, voided: &Voided) -> Result<Option<UsageRecord>, Error> {
        let numbers = voided
            .offsets
            .iter()
            .flat_map(|range| range.start.get()..range.end.get());
        let offsets: Vec<_> = numbers.map(Offset::new).collect();
        let records = match self.feed.as_ref() {
            Feed::Trigger(_) => Vec::new(),
            Feed::Asynchronous => reading::load(&self.shared, &self.place, &offsets).await?,
        };
        let attempt = self.feed.attempt(&self.place, offsets, voided.attempt);
        let Some(target) = self.feed.function_of(&records) else {
            tracing::warn!(place = %attempt.event, "an attempt was cut off and its record is gone");
            return Ok(None);
        };
        let parts = self.shared.parts();
        let function = parts.functions.resolve(&target, attempt.draw());
        let account = self.account(function.as_deref());
        let name = &target.name;
        let request_id = self.feed.request_id(&attempt, account, name, &records);
        let version = version(function.as_deref(), &target);
        let now = parts.clock.now();
        Ok(Some(UsageRecord {
            memory_mib: function.as_ref().map_or(0, |function| function.memory_mib),
            ..attempt.void(account, name.as_str(), version, &request_id, now)
        }))
    }

    fn letter(&self, given_up: &GivenUp, payload: Payload) -> (Destination, Record) {
        let parts = self.shared.parts();
        let at = self
            .records
            .binary_search_by_key(&given_up.offset, |stored| stored.offset);
        let stored = at.ok().map(|at| &self.records[at]);
        let target = self
            .feed
            .function_of(stored.map_or(&[], std::slice::from_ref));
        let function = target
            .as_ref()
            .and_then(|target| parts.functions.function(&target.name));
        let arn = target.as_ref().map_or_else(String::new, |target| {
            let account = self.account(function.as_deref());
            format!(
                "arn:aws:lambda:{}:{account}:function:{target}",
                parts.settings.region
            )
        });
        let flown = given_up.flight.and_then(|id| self.flown.get(&id));
        let usage = flown.and_then(|flown| flown.usage.as_ref());
        let rejected = flown.filter(|flown| flown.response.is_none());
        let detail = self.unreadable.get(&given_up.offset);
        let letter = DeadLetter {
            by: &self.feed.label(),
            place: &self.place,
            offset: given_up.offset,
            stored,
            function_arn: &arn,
            version: usage.map_or(Version::LATEST, |usage| &usage.version),
            reason: given_up.reason,
            detail: detail
                .or(rejected.map(|flown| &flown.result))
                .map(String::as_str),
            attempts: given_up.attempts,
            response: flown.and_then(|flown| flown.response.as_ref()),
            now: parts.clock.now(),
        };
        let functions = parts.functions.as_ref();
        let destination = self.feed.destination(functions, target.as_ref());
        (destination, letter.to_record(payload))
    }

    /// A settlement cannot reach into the long-lived journal: letters for a topic there go to the
    /// common one.
    async fn topic_of(&self, destination: &Destination) -> Result<Topic, Error> {
        let log = &self.shared.parts().log;
        if let Destination::Topic(name) = destination {
            let topic = log.ensure_topic(name, OWN_TOPIC).await?;
            match topic.config.lifetime {
                Lifetime::Events => return Ok(topic),
                Lifetime::LongLived => warn_unusable(name),
            }
        }
        log.ensure_topic(&own_topic(DEAD_LETTERS), OWN_TOPIC).await
    }

    /// Letters without a key keep the spread of their topic.
    fn same_partition(&self, topic: &Topic) -> TopicPartition {
        let index = self.place.partition.index() % topic.config.partitions.max(1);
        topic.name.partition(event_log::Partition::new(index))
    }

    fn account<'a>(&'a self, function: Option<&'a Function>) -> &'a str {
        function.map_or(&self.shared.parts().settings.account, |it| &it.account)
    }
}

/// The version that an attempt was made with, as far as that can still be told.
fn version(function: Option<&Function>, target: &QualifiedName) -> Version {
    match (function, target.meant()) {
        (Some(function), _) => function.version,
        (None, Qualifier::Version(version)) => *version,
        (None, Qualifier::Alias(_)) => Version::Latest,
    }
}

fn warn_unusable(topic: &TopicName) {
    tracing::warn!(
        %topic, "events that were given up cannot go to a long-lived topic; they go to {DEAD_LETTERS}"
    );
}

/// Records by the partition they go to, in order.
#[derive(Debug, Default)]
struct Appends {
    records: BTreeMap<TopicPartition, Vec<Record>>,
}

impl Appends {
    fn add(&mut self, to: TopicPartition, record: Record) {
        self.records.entry(to).or_default().push(record);
    }

    fn into_appends(self) -> Vec<Append> {
        let records = self.records.into_iter();
        records
            .filter_map(|(to, records)| {
                let batch = RecordBatch::of(&records)?;
                Some(Append { to, batch })
            })
            .collect()
    }
}
