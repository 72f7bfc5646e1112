//! What a partition is worked off for: a trigger, or the queue of asynchronous invocations.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{ConsumerId, Offset, Partition, StoredRecord, TopicName, TopicPartition};
use function::{
    Backoff, Destination, Filter, FilterError, FunctionName, Ordering, QualifiedName, Trigger,
    TriggerId,
};

use super::Shared;
use crate::attempt::{Attempt, Tariff};
use crate::invoker::Run;
use crate::queue::{self, own_topic};
use crate::schedule::{
    Arrival, ArrivalKind, Limits, MAX_PAYLOAD_BYTES, Pauses, Policy, Target, ranges,
};
use crate::{BatchAnswer, Functions, Settings};

/// Batches that may wait for a retry in one partition: a thousand take some ten kilobytes in each
/// checkpoint.
const MAX_WAITING: usize = 1_000;
/// Asynchronous invocations that are passed over, because their function has enough in hand, in
/// one partition: in the worst case as many gaps in each checkpoint, some 160 KiB.
const MAX_PARKED: usize = 10_000;
/// What an event adds to a payload beside its own bytes, roughly.
const ENVELOPE: usize = 256;

/// Where events come from and what is done with them.
#[derive(Debug)]
pub(super) enum Feed {
    /// An event source mapping or a bucket notification.
    Trigger(TriggerFeed),
    /// Accepted asynchronous invocations.
    Asynchronous,
}

#[derive(Debug)]
pub(super) struct TriggerFeed {
    trigger: Arc<Trigger>,
    filters: Vec<Filter>,
}

impl Feed {
    pub(super) fn of(trigger: Arc<Trigger>) -> Result<Self, FilterError> {
        let filters = trigger.filters.iter().map(|text| Filter::compile(text));
        let filters = filters.collect::<Result<_, _>>()?;
        Ok(Self::Trigger(TriggerFeed { trigger, filters }))
    }

    pub(super) fn id(&self) -> Option<TriggerId> {
        match self {
            Self::Trigger(feed) => Some(feed.trigger.id),
            Self::Asynchronous => None,
        }
    }

    pub(super) fn trigger(&self) -> Option<&Trigger> {
        match self {
            Self::Trigger(feed) => Some(&feed.trigger),
            Self::Asynchronous => None,
        }
    }

    /// The name in metrics and messages.
    pub(super) fn label(&self) -> String {
        self.id()
            .map_or_else(|| "async".to_owned(), |id| id.to_string())
    }

    pub(super) fn consumer(&self) -> ConsumerId {
        match self {
            Self::Trigger(feed) => feed.trigger.consumer(),
            Self::Asynchronous => ConsumerId::new("async"),
        }
    }

    pub(super) fn topic(&self) -> TopicName {
        match self {
            Self::Trigger(feed) => feed.trigger.topic(),
            Self::Asynchronous => own_topic(queue::ASYNC_TOPIC),
        }
    }

    pub(super) fn policy(&self, settings: &Settings) -> Policy {
        let listed = || Pauses::Listed(settings.async_backoff.clone());
        let flights = settings.flights_per_partition.max(1);
        let asynchronous = Policy {
            ordering: Ordering::None,
            batch_size: 1,
            window: Duration::ZERO,
            batch_bytes: MAX_PAYLOAD_BYTES,
            bisect: false,
            pauses: listed(),
            // It serves every function: some that have no room must not take it from the others.
            max_flights: flights * 4,
            max_flights_of_target: flights.div_ceil(2),
            max_waiting: MAX_WAITING,
            max_waiting_of_target: MAX_WAITING / 4,
            max_parked: MAX_PARKED,
        };
        let Some(trigger) = self.trigger() else {
            return asynchronous;
        };
        let window = trigger.batch.maximum_batching_window_ms;
        Policy {
            ordering: trigger.ordering,
            batch_size: trigger.batch.batch_size.max(1) as usize,
            window: Duration::from_millis(window.into()),
            max_flights: flights,
            bisect: trigger.retry.bisect_batch_on_function_error,
            pauses: match trigger.retry.backoff {
                Backoff::Exponential => Pauses::Exponential,
                Backoff::Asynchronous => listed(),
            },
            ..asynchronous
        }
    }

    /// What the schedule needs to know of a record.
    pub(super) fn arrival(
        &self,
        shared: &Shared,
        partition: Partition,
        stored: &StoredRecord,
    ) -> Arrival {
        let (kind, limits, target) = match self {
            Self::Trigger(feed) => (feed.kind(shared, partition, stored), feed.limits(), None),
            Self::Asynchronous => async_arrival(shared, stored),
        };
        Arrival {
            target,
            offset: stored.offset,
            key: stored.record.key.as_ref().map(hash),
            bytes: encoded_len(stored),
            time: stored.record.timestamp,
            limits,
            kind,
        }
    }

    /// The function that a batch is for; `None` when the record names none.
    pub(super) fn function_of(&self, records: &[StoredRecord]) -> Option<QualifiedName> {
        match self {
            Self::Trigger(feed) => Some(feed.trigger.target()),
            Self::Asynchronous => queue::decode(&records.first()?.record).map(|it| it.target),
        }
    }

    pub(super) fn attempt(
        &self,
        place: &TopicPartition,
        offsets: impl IntoIterator<Item = Offset>,
        number: u32,
    ) -> Attempt {
        let offsets: Vec<_> = offsets.into_iter().collect();
        let records = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
        let spans: Vec<_> = ranges(offsets)
            .iter()
            .map(|range| format!("{}..{}", range.start, range.end))
            .collect();
        Attempt {
            event: format!("{place}@{}", spans.join(",")),
            trigger: self.id(),
            number,
            records,
            tariff: if self.is_asynchronous() {
                Tariff::Asynchronous
            } else {
                Tariff::Flat
            },
        }
    }

    /// The request id of an attempt. Asynchronous events keep theirs through all attempts, as with
    /// AWS; batches of a mapping get a new one each time.
    pub(super) fn request_id(
        &self,
        attempt: &Attempt,
        account: &str,
        function: &FunctionName,
        records: &[StoredRecord],
    ) -> String {
        let own = match self {
            Self::Trigger(_) => None,
            Self::Asynchronous => records.first().and_then(|stored| {
                queue::decode(&stored.record).map(|invocation| invocation.request_id)
            }),
        };
        own.unwrap_or_else(|| {
            if self.is_asynchronous() {
                attempt.event_request_id(account, function.as_str())
            } else {
                attempt.request_id(account, function.as_str())
            }
        })
    }

    /// What the function is to be given.
    pub(super) fn run(
        &self,
        shared: &Shared,
        partition: Partition,
        records: &[StoredRecord],
        request_id: String,
    ) -> Run {
        let queued = match self {
            Self::Trigger(_) => None,
            Self::Asynchronous => records.first().and_then(|it| queue::decode(&it.record)),
        };
        let (payload, qualifier) = match self {
            Self::Trigger(feed) => (
                shared.payloads.encode(&feed.trigger, partition, records),
                feed.trigger.qualifier.clone(),
            ),
            Self::Asynchronous => (Bytes::new(), None),
        };
        match queued {
            Some(queued) => Run {
                qualifier: queued.target.qualifier,
                request_id,
                payload: queued.payload,
                client_context: queued.client_context,
                trace_id: queued.trace_id,
            },
            None => Run {
                qualifier,
                request_id,
                payload,
                client_context: None,
                trace_id: None,
            },
        }
    }

    /// What a successful answer says of the batch.
    pub(super) fn answer(
        &self,
        shared: &Shared,
        partition: Partition,
        records: &[StoredRecord],
        answer: &Bytes,
    ) -> BatchAnswer {
        match self {
            Self::Trigger(feed) if feed.trigger.report_batch_item_failures => shared
                .payloads
                .batch_answer(&feed.trigger, partition, records, answer),
            Self::Trigger(_) | Self::Asynchronous => BatchAnswer::Done,
        }
    }

    /// Where an event for `target` goes that was given up.
    pub(super) fn destination(
        &self,
        functions: &dyn Functions,
        target: Option<&QualifiedName>,
    ) -> Destination {
        match self {
            Self::Trigger(feed) => feed.trigger.retry.on_failure.clone(),
            Self::Asynchronous => {
                target
                    .and_then(|target| functions.async_policy(target))
                    .unwrap_or_default()
                    .on_failure
            }
        }
    }

    /// Whether its events are invocations that nobody waits for in order, which AWS retries and
    /// charges by rules of their own: the queue's, and bucket notifications.
    fn is_asynchronous(&self) -> bool {
        match self {
            Self::Trigger(feed) => feed.trigger.retry.backoff == Backoff::Asynchronous,
            Self::Asynchronous => true,
        }
    }
}

impl TriggerFeed {
    fn limits(&self) -> Limits {
        let age = self.trigger.retry.maximum_record_age_seconds;
        Limits {
            maximum_retry_attempts: self.trigger.retry.maximum_retry_attempts,
            maximum_age: age.map(|seconds| Duration::from_secs(seconds.into())),
        }
    }

    fn kind(&self, shared: &Shared, partition: Partition, stored: &StoredRecord) -> ArrivalKind {
        let matches = || {
            let document = shared
                .payloads
                .filter_document(&self.trigger, partition, stored);
            document.is_some_and(|it| self.filters.iter().any(|filter| filter.matches(&it)))
        };
        let wanted = shared.payloads.selects(&self.trigger, stored)
            && (self.filters.is_empty() || matches());
        if wanted {
            ArrivalKind::Matched
        } else {
            ArrivalKind::Filtered
        }
    }
}

/// A record of the queue that is no invocation cannot be run.
fn async_arrival(shared: &Shared, stored: &StoredRecord) -> (ArrivalKind, Limits, Option<Target>) {
    let Some(queued) = queue::decode(&stored.record) else {
        return (ArrivalKind::Unreadable, Limits::default(), None);
    };
    let functions: &dyn Functions = shared.parts().functions.as_ref();
    let policy = functions.async_policy(&queued.target).unwrap_or_default();
    let age = Duration::from_secs(policy.maximum_event_age_seconds.into());
    let limits = Limits {
        maximum_retry_attempts: Some(policy.maximum_retry_attempts),
        maximum_age: Some(age),
    };
    let target = Target(hash(&queued.target.name));
    (ArrivalKind::Matched, limits, Some(target))
}

/// What a record takes in a payload, at most: key and value in base64, headers as lists of numbers.
fn encoded_len(stored: &StoredRecord) -> usize {
    let record = &stored.record;
    let base64 = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |it| it.len() / 3 * 4 + 4);
    let header = |bytes: usize| bytes * 4 + 16;
    let headers: usize = record
        .headers
        .iter()
        .map(|it| header(it.key.len() + it.value.as_ref().map_or(0, Bytes::len)))
        .sum();
    base64(&record.key) + base64(&record.value) + headers + ENVELOPE
}

fn hash(key: &impl Hash) -> u64 {
    // The standard hasher without a random state: the same for the same key in every process.
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
