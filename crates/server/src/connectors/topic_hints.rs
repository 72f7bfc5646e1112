//! Notifications of other stores that come by a topic: published to this server's Kafka port, or copied
//! in by a connector from another cluster.
//!
//! They are hints and no more, as posted ones are. What is in the topic when a connector begins is not
//! read, since its first listing sees all of that; nor is where it stands remembered, for the same reason.
//! What cannot be read, or is about another bucket, is passed over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use connector_object_store::{Hint, hints_of};
use event_log::{Chunk, Offset, SharedLog, TopicName, TopicPartition};
use futures::future::select_all;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes of notifications that are read at once.
const READ: usize = 1 << 20;

/// How long a log that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The hints at objects of `bucket` that come by `topic` from now on, also when that is made later.
pub(super) fn topic_hints(
    log: SharedLog,
    topic: TopicName,
    bucket: String,
) -> BoxStream<'static, Hint> {
    let mut follower = Follower {
        topics: log.topics_changed(),
        log,
        topic,
        bucket,
        places: BTreeMap::new(),
        read: VecDeque::new(),
    };
    follower.join(Start::End);
    stream::unfold(follower, |mut follower| async move {
        let hint = follower.next().await?;
        Some((hint, follower))
    })
    .boxed()
}

/// Where a partition is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// What is there was there before us.
    End,
    /// All of it has come since.
    Beginning,
}

struct Follower {
    log: SharedLog,
    topic: TopicName,
    bucket: String,
    topics: watch::Receiver<u64>,
    places: BTreeMap<TopicPartition, Place>,
    read: VecDeque<Hint>,
}

struct Place {
    next: Offset,
    tail: watch::Receiver<Offset>,
}

impl Follower {
    /// Follows the topic's partitions that are not followed yet.
    fn join(&mut self, start: Start) {
        self.topics.mark_unchanged();
        let Some(topic) = self.log.topic(&self.topic) else {
            self.places.clear();
            return;
        };
        for partition in topic.partitions() {
            let (Ok(bounds), Ok(tail)) = (self.log.bounds(&partition), self.log.tail(&partition))
            else {
                continue;
            };
            let next = match start {
                Start::End => bounds.end,
                Start::Beginning => bounds.start,
            };
            self.places.entry(partition).or_insert(Place { next, tail });
        }
    }

    /// The next hint; `None` when the log is closed.
    async fn next(&mut self) -> Option<Hint> {
        loop {
            if let Some(hint) = self.read.pop_front() {
                return Some(hint);
            }
            match self.behind() {
                Some(partition) => self.read(&partition).await,
                None => self.wait().await?,
            }
        }
    }

    /// A partition that has more than was read.
    fn behind(&self) -> Option<TopicPartition> {
        let mut places = self.places.iter();
        let behind = places.find(|(_, place)| *place.tail.borrow() > place.next);
        behind.map(|(partition, _)| partition.clone())
    }

    async fn read(&mut self, partition: &TopicPartition) {
        let Some(place) = self.places.get_mut(partition) else {
            return;
        };
        match self.log.read(partition, place.next, READ).await {
            Ok(chunk) => {
                place.next = chunk.next;
                self.read.extend(hints_in(&chunk, &self.bucket));
            }
            Err(error) => {
                tracing::debug!(%error, %partition, "notifications are passed over");
                self.read.push_back(Hint::Anything);
                place.next = *place.tail.borrow();
                tokio::time::sleep_until(Instant::now() + PAUSE).await;
            }
        }
    }

    /// Waits until a partition or the topic changes.
    async fn wait(&mut self) -> Option<()> {
        let tails = self.places.values_mut().map(|it| it.tail.changed().boxed());
        let tails: Vec<_> = tails.collect();
        let grown = async {
            match tails.is_empty() {
                true => std::future::pending().await,
                false => select_all(tails).await.0,
            }
        };
        let gone = tokio::select! {
            changed = self.topics.changed() => return changed.ok().map(|()| self.join(Start::Beginning)),
            grown = grown => grown.is_err(),
        };
        if gone {
            // The topic was deleted, and perhaps made again.
            self.places.clear();
            self.join(Start::Beginning);
        }
        Some(())
    }
}

/// Hints in what was read.
fn hints_in(chunk: &Chunk, bucket: &str) -> Vec<Hint> {
    let mut hints = Vec::new();
    for batch in &chunk.batches {
        let Ok(records) = batch.records() else {
            hints.push(Hint::Anything);
            continue;
        };
        let values = records.iter().filter_map(|it| it.record.value.as_ref());
        hints.extend(values.filter_map(|it| hints_of(it, bucket).ok()).flatten());
    }
    hints
}

#[cfg(test)]
mod tests {
    use clock::Timestamp;
    use event::Record;
    use event_log::{Lifetime, MemoryLog, RecordBatch, Settlement, TopicConfig};

    use super::*;

    async fn publish(log: &SharedLog, topic: &TopicName, value: &str) {
        let record = Record::new(value.to_owned(), Timestamp::default());
        let partition = log.topic(topic).unwrap().partition_for(value.as_bytes());
        let batch = RecordBatch::of_one(record);
        let settlement = Settlement::of(partition, batch);
        log.commit(settlement).await.unwrap();
    }

    fn notification(bucket: &str, key: &str) -> String {
        format!(
            r#"{{"Records": [{{"s3": {{"bucket": {{"name": {bucket:?}}}, "object": {{"key": {key:?}}}}}}}]}}"#
        )
    }

    #[tokio::test]
    async fn hints_are_what_is_published_from_now_on_about_this_bucket() {
        let log: SharedLog = MemoryLog::new();
        let topic = TopicName::new("told").unwrap();
        let config = TopicConfig::new(2, Lifetime::Events);
        log.create_topic(&topic, config).await.unwrap();
        publish(&log, &topic, &notification("in", "before")).await;
        let mut hints = topic_hints(log.clone(), topic.clone(), "in".to_owned());
        for value in [
            "no JSON",
            &notification("out", "a"),
            &notification("in", "a+b"),
        ] {
            publish(&log, &topic, value).await;
        }
        assert_eq!(hints.next().await, Some(Hint::Object("a b".to_owned())));
        publish(&log, &topic, &notification("in", "c")).await;
        assert_eq!(hints.next().await, Some(Hint::Object("c".to_owned())));
    }

    #[tokio::test]
    async fn a_topic_that_is_made_later_or_anew_is_read_from_its_beginning() {
        let log: SharedLog = MemoryLog::new();
        let topic = TopicName::new("told").unwrap();
        let mut hints = topic_hints(log.clone(), topic.clone(), "in".to_owned());
        for key in ["a", "b"] {
            let config = TopicConfig::new(1, Lifetime::Events);
            log.create_topic(&topic, config).await.unwrap();
            publish(&log, &topic, &notification("in", key)).await;
            assert_eq!(hints.next().await, Some(Hint::Object(key.to_owned())));
            assert_eq!(hints.next().now_or_never(), None);
            log.delete_topic(&topic).await.unwrap();
        }
    }
}
