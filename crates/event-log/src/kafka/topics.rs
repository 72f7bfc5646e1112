//! Which topics there are. Kafka tells nobody of a change, so the warden asks at intervals, and at
//! once when the node itself has changed something or heard that another has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::{ANSWER, Names, TICK};
use super::committer::{Command, Queue};
use super::ends::Ends;
use super::member::Membership;
use super::places::{Place, Places};
use super::tailer::Tailer;
use crate::{Partition, Topic, TopicName, TopicPartition};

#[derive(Debug)]
pub(super) struct Warden {
    names: Names,
    membership: Arc<Membership>,
    places: Arc<Places>,
    tailer: Arc<Tailer>,
    ends: Ends,
    queue: Queue,
    pub(super) changed: watch::Sender<u64>,
    nudge: mpsc::SyncSender<()>,
    /// How long a topic must be missing to have ended: a broker's metadata may be behind.
    certain_after: Duration,
    /// One look at a time: an older one must not undo a newer.
    looking: Mutex<Looking>,
    /// What the latest look has found.
    found: Mutex<HashSet<TopicName>>,
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
}

/// How long a topic that is about to go is hidden, should nobody bring it to its end.
const ENDING: Duration = Duration::from_secs(15);

/// Kafka's number for it.
const NO_LEADER: i32 = -1;

/// What a look at the cluster's metadata has found.
struct Found {
    /// Topics that can be used, and the leader of each of their partitions.
    there: HashMap<TopicName, Vec<i32>>,
    /// Topics of which nothing can be said just now.
    unclear: HashSet<TopicName>,
}

impl Warden {
    pub(super) fn new(
        names: Names,
        membership: Arc<Membership>,
        places: Arc<Places>,
        tailer: Arc<Tailer>,
        ends: Ends,
        queue: Queue,
        certain_after: Duration,
    ) -> (Self, mpsc::Receiver<()>) {
        let (nudge, nudges) = mpsc::sync_channel(1);
        let warden = Self {
            names,
            membership,
            places,
            tailer,
            ends,
            queue,
            changed: watch::Sender::default(),
            nudge,
            certain_after,
            looking: Mutex::default(),
            found: Mutex::default(),
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
                self.tailer.follow_if_wanted(&place);
                // Nobody waits for it: what is known is enough until it is answered.
                drop(self.ends.ask(&place));
            }
        }
    }

    /// Shows what there is now. Returns topics that have been missing for long and that nobody
    /// has recorded the end of.
    pub(super) fn refresh(&self) -> Result<Vec<(TopicName, u64)>, KafkaError> {
        let mut looking = self.looking.lock();
        let Found { there, unclear } = self.look_around()?;
        *self.found.lock() = there.keys().chain(&unclear).cloned().collect();
        let before: Vec<(TopicName, u32, u64)> = self.membership.with(|view| {
            let topics = view.ledger.topics();
            let known = |topic: &Topic| {
                let incarnation = view.topic_fact(&topic.name).incarnation;
                (topic.name.clone(), topic.config.partitions, incarnation)
            };
            topics.map(known).collect()
        });
        self.survey(&there);
        // What is shown can be asked for its bounds, so that what is new has to wait for them.
        let mut shown: HashMap<TopicName, u32> = HashMap::new();
        for (name, leaders) in &there {
            let count = u32::try_from(leaders.len()).unwrap_or(u32::MAX);
            if self.knows(name, count) {
                shown.insert(name.clone(), count);
            }
        }
        let (mut ended, now) = (Vec::new(), Instant::now());
        let mut missing = Missing::new();
        for (name, partitions, incarnation) in before {
            if !there.contains_key(&name) && !unclear.contains(&name) {
                let earlier = looking.missing.get(&name);
                let earlier = earlier.filter(|(of, _)| *of == incarnation);
                let since = earlier.map_or(now, |(_, since)| *since);
                if now.duration_since(since) > self.certain_after {
                    ended.push((name, incarnation));
                    continue;
                }
                missing.insert(name.clone(), (incarnation, since));
            }
            // One broker's word is not enough to take away what others work on.
            shown.entry(name).or_insert(partitions);
        }
        looking.missing = missing;
        let ends = |name: &TopicName| self.membership.with(|view| view.topic_fact(name).ending);
        looking.ending.retain(|name, _| ends(name));
        shown.retain(|name, _| {
            let mut since = || *looking.ending.entry(name.clone()).or_insert(now);
            !ends(name) || now.duration_since(since()) > ENDING
        });
        let shown = self.membership.change(|view| {
            view.show(&shown);
            view.ledger.topics().cloned().collect()
        });
        if looking.shown != shown {
            looking.shown = shown;
            self.changed.send_modify(|count| *count += 1);
        }
        let shown = |place: &Place| {
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
        self.found.lock().contains(name)
    }

    fn look_around(&self) -> Result<Found, KafkaError> {
        let metadata = self.ends.client().fetch_metadata(None, ANSWER)?;
        let (mut there, mut unclear) = (HashMap::new(), HashSet::new());
        for topic in metadata.topics() {
            let Some(name) = self.names.inside(topic.name()) else {
                continue;
            };
            let mut leaders = vec![NO_LEADER; topic.partitions().len()];
            for partition in topic.partitions() {
                let index = usize::try_from(partition.id()).ok();
                if let Some(leader) = index.and_then(|index| leaders.get_mut(index)) {
                    *leader = partition.leader();
                }
            }
            if topic.error().is_some() {
                unclear.insert(name);
            } else if !leaders.is_empty() {
                there.insert(name, leaders);
            }
        }
        Ok(Found { there, unclear })
    }

    /// Learns who leads partitions, and of new ones where they begin and end, as far as their leaders say.
    fn survey(&self, there: &HashMap<TopicName, Vec<i32>>) {
        let mut asked = Vec::new();
        for (name, leaders) in there {
            let identity = self.membership.with(|view| view.identity(name));
            let outside = self.names.outside(name);
            for (index, leader) in (0..).zip(leaders) {
                let name = name.partition(Partition::new(index));
                match self.place(&name, identity) {
                    Some(known) => known.is_led_by(*leader),
                    None if *leader == NO_LEADER => {}
                    None => {
                        let place = Place::new(name, Arc::clone(&outside), identity, *leader);
                        let place = Arc::new(place);
                        asked.push((self.ends.ask(&place), place));
                    }
                }
            }
        }
        for (answer, place) in asked {
            match answer.blocking_recv() {
                Ok(Ok(_)) => {
                    // One of another topic of that name is followed by nobody any more.
                    if let Some(former) = self.places.add(place) {
                        self.tailer.follow_no_more(&former);
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(partition = %place.name, %error, "find the ends of a partition");
                }
                Err(_) => {}
            }
        }
    }

    /// Whether it is known of every partition where it begins and ends.
    fn knows(&self, name: &TopicName, count: u32) -> bool {
        let identity = self.membership.with(|view| view.identity(name));
        (0..count).all(|index| {
            let place = name.partition(Partition::new(index));
            self.place(&place, identity).is_some()
        })
    }

    fn place(&self, name: &TopicPartition, topic: Uuid) -> Option<Arc<Place>> {
        self.places.get(name).filter(|place| place.topic == topic)
    }
}
