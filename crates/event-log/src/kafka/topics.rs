//! Which topics there are. Kafka tells nobody of a change, so the warden asks at intervals, and at
//! once when the node itself has changed something or heard that another has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset as At, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{Names, PATIENCE, TICK};
use super::committer::{Command, Queue};
use super::member::Membership;
use super::places::{Places, index, offset};
use super::tailer::Tailer;
use crate::{Offset, Partition, Topic, TopicName, TopicPartition};

#[derive(Debug)]
pub(super) struct Warden {
    names: Names,
    membership: Arc<Membership>,
    places: Arc<Places>,
    tailer: Arc<Tailer>,
    queue: Queue,
    pub(super) changed: watch::Sender<u64>,
    nudge: mpsc::SyncSender<()>,
    /// How long a topic must be missing to have ended: a broker's metadata may be behind.
    certain_after: Duration,
    /// One look at a time: an older one must not undo a newer.
    looking: Mutex<Looking>,
}

/// Topics that the latest look did not find any more: which of that name, and since when.
type Missing = HashMap<TopicName, (u64, Instant)>;

/// What earlier looks have found.
#[derive(Debug, Default)]
struct Looking {
    missing: Missing,
    /// Topics that are about to go, and since when that is known.
    ending: HashMap<TopicName, Instant>,
    shown: Vec<Topic>,
    found: HashSet<TopicName>,
}

/// How long a topic that is about to go is hidden, should nobody bring it to its end.
const ENDING: Duration = Duration::from_secs(15);

/// What a look at the cluster's metadata has found.
struct Found {
    /// Topics that can be used, and their partitions.
    there: HashMap<TopicName, u32>,
    /// Topics of which nothing can be said just now.
    unclear: HashSet<TopicName>,
}

impl Warden {
    pub(super) fn new(
        names: Names,
        membership: Arc<Membership>,
        places: Arc<Places>,
        tailer: Arc<Tailer>,
        queue: Queue,
        certain_after: Duration,
    ) -> (Self, mpsc::Receiver<()>) {
        let (nudge, nudges) = mpsc::sync_channel(1);
        let warden = Self {
            names,
            membership,
            places,
            tailer,
            queue,
            changed: watch::Sender::default(),
            nudge,
            certain_after,
            looking: Mutex::default(),
        };
        (warden, nudges)
    }

    /// Has the warden look again soon.
    pub(super) fn look(&self) {
        // One that is waiting will see what this one is for.
        let _ = self.nudge.try_send(());
    }

    /// Looks at intervals and when nudged, until `stop`.
    pub(super) fn run(
        &self,
        nudges: &mpsc::Receiver<()>,
        interval: Duration,
        stop: &CancellationToken,
    ) {
        let mut waited = Duration::ZERO;
        while !stop.is_cancelled() {
            let nudged = nudges.recv_timeout(TICK).is_ok();
            waited += TICK;
            if !nudged && waited < interval {
                continue;
            }
            waited = Duration::ZERO;
            match self.refresh() {
                Ok(ended) => {
                    for (topic, incarnation) in ended {
                        tracing::info!(%topic, "a topic was deleted outside of the log");
                        let (reply, _) = tokio::sync::oneshot::channel();
                        self.queue.put(Command::EndTopic(topic, incarnation, reply));
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot ask the Kafka cluster for its topics"),
            }
            for place in self.places.all() {
                if place.end.receiver_count() == 0 {
                    self.tailer.follow_no_more(&place);
                }
            }
        }
    }

    /// Shows what there is now. Returns topics that have been missing for long and that nobody
    /// has recorded the end of.
    pub(super) fn refresh(&self) -> Result<Vec<(TopicName, u64)>, KafkaError> {
        let mut looking = self.looking.lock();
        let Found { mut there, unclear } = self.found()?;
        looking.found = there.keys().chain(&unclear).cloned().collect();
        let shown = self.membership.with(|view| {
            let topics = view.ledger.topics();
            let known = |topic: &Topic| {
                let incarnation = view.topic_fact(&topic.name).incarnation;
                (topic.name.clone(), topic.config.partitions, incarnation)
            };
            topics.map(known).collect::<Vec<_>>()
        });
        let (mut ended, now) = (Vec::new(), Instant::now());
        let mut still = Missing::new();
        for (name, partitions, incarnation) in shown {
            if unclear.contains(&name) {
                there.entry(name).or_insert(partitions);
            } else if !there.contains_key(&name) {
                still.insert(name, (incarnation, now));
            }
        }
        for (name, (incarnation, since)) in std::mem::take(&mut looking.missing) {
            let current = self
                .membership
                .with(|view| view.topic_fact(&name).incarnation);
            let gone = !there.contains_key(&name) && !unclear.contains(&name);
            if !gone || current != incarnation {
                continue;
            }
            if now.duration_since(since) > self.certain_after {
                ended.push((name, incarnation));
            } else {
                still.insert(name, (incarnation, since));
            }
        }
        looking.missing = still;
        let ends = |name: &TopicName| self.membership.with(|view| view.topic_fact(name).ending);
        looking.ending.retain(|name, _| ends(name));
        there.retain(|name, _| {
            let mut since = || *looking.ending.entry(name.clone()).or_insert(now);
            !ends(name) || now.duration_since(since()) > ENDING
        });
        // Bounds first: what is shown can be asked for them.
        self.survey(&there)?;
        let shown = self.membership.change(|view| {
            view.show(&there);
            view.ledger.topics().cloned().collect()
        });
        if looking.shown != shown {
            looking.shown = shown;
            self.changed.send_modify(|count| *count += 1);
        }
        let shown = |place: &super::places::Place| {
            self.membership
                .with(|view| view.ledger.topic(&place.name.topic).map(|topic| topic.id))
                == Some(place.topic)
        };
        for place in self.places.retain(shown) {
            self.tailer.follow_no_more(&place);
        }
        Ok(ended)
    }

    /// Whether the latest look has found a topic that is about to go.
    pub(super) fn finds(&self, name: &TopicName) -> bool {
        self.looking.lock().found.contains(name)
    }

    fn found(&self) -> Result<Found, KafkaError> {
        let metadata = self.tailer.client().fetch_metadata(None, PATIENCE)?;
        let (mut there, mut unclear) = (HashMap::new(), HashSet::new());
        for topic in metadata.topics() {
            if topic.error().is_some() {
                unclear.extend(self.names.inside(topic.name()));
                continue;
            }
            let count = u32::try_from(topic.partitions().len()).unwrap_or(0);
            if let Some(name) = self.names.inside(topic.name())
                && count > 0
            {
                there.insert(name, count);
            }
        }
        Ok(Found { there, unclear })
    }

    /// Learns where partitions begin and end.
    fn survey(&self, there: &HashMap<TopicName, u32>) -> Result<(), KafkaError> {
        let identities = self.membership.with(|view| {
            let names = there.keys();
            let id = |name: &TopicName| (name.clone(), view.identity(name));
            names.map(id).collect::<HashMap<_, _>>()
        });
        let places = there.iter().flat_map(|(name, count)| {
            (0..*count).map(|index| name.partition(Partition::new(index)))
        });
        let places: Vec<TopicPartition> = places.collect();
        if places.is_empty() {
            return Ok(());
        }
        let outside = there
            .keys()
            .map(|name| (name.clone(), self.names.outside(name)));
        let outside: HashMap<_, _> = outside.collect();
        let ask = |at: At| {
            let mut list = TopicPartitionList::with_capacity(places.len());
            for place in &places {
                list.add_partition_offset(&outside[&place.topic], index(place), at)?;
            }
            self.tailer.client().offsets_for_times(list, PATIENCE)
        };
        let (first, end) = (ask(At::Beginning)?, ask(At::End)?);
        let found = |list: &TopicPartitionList, place: &TopicPartition| -> Option<Offset> {
            let element = list.find_partition(&outside[&place.topic], index(place))?;
            match (element.error(), element.offset()) {
                (Ok(()), At::Offset(at)) => Some(offset(at)),
                _ => None,
            }
        };
        for place in places {
            let (Some(first), Some(end)) = (found(&first, &place), found(&end, &place)) else {
                continue;
            };
            let identity = identities[&place.topic];
            match self
                .places
                .get(&place)
                .filter(|known| known.topic == identity)
            {
                Some(known) => {
                    known.begins_at(first);
                    known.is_stable_to(end);
                }
                None => {
                    let outside = Arc::clone(&outside[&place.topic]);
                    self.places.add(place, outside, identity, first..end);
                }
            }
        }
        Ok(())
    }
}
