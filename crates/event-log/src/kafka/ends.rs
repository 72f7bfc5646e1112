//! Where partitions begin and end, as their leaders say.
//!
//! The client library blocks whoever asks, and for a leader that is gone until the time is up. So each
//! leader has a lane with one thread at most: who asks while a call is under way rides in the next
//! one, together with everybody else, and a broker that does not answer holds up nobody but those who
//! ask for its own partitions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as At, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::{Clients, failed};
use super::places::{Place, index, offset};
use crate::{Error, Offset};

/// How long a leader has for one call: enough for one that is busy, and a partition of one that is gone
/// has another soon after.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nothing is ever fetched.
const WAIT: Duration = Duration::from_secs(1);

/// A cheap handle. The client is one of its own: a broker answers in turn, and to whoever follows
/// partitions only once there is something new.
#[derive(Clone)]
pub(super) struct Ends(Arc<Asking>);

struct Asking {
    client: BaseConsumer,
    lanes: Mutex<HashMap<i32, Lane>>,
}

/// Those who wait for the next call to a leader; there is a lane as long as its thread runs.
type Lane = Vec<(Arc<Place>, oneshot::Sender<Answer>)>;

/// The partition's end, or why it cannot be said now.
pub(super) type Answer = Result<Offset, KafkaError>;

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ends")
    }
}

impl Ends {
    pub(super) fn open(clients: &Clients) -> Result<Self, Error> {
        let client = clients.reader(WAIT).create();
        Ok(Self(Arc::new(Asking {
            client: client.map_err(|error| failed("make a reader", error))?,
            lanes: Mutex::default(),
        })))
    }

    /// For other questions that fetch nothing.
    pub(super) fn client(&self) -> &BaseConsumer {
        &self.0.client
    }

    /// Looks up where the partition begins and ends, as of now or later, and tells the place. The answer
    /// comes within twice the time that a leader has.
    pub(super) fn ask(&self, place: &Arc<Place>) -> oneshot::Receiver<Answer> {
        let (asker, answer) = oneshot::channel();
        let leader = place.leader();
        let mut lanes = self.0.lanes.lock();
        let runs = lanes.contains_key(&leader);
        let lane = lanes.entry(leader).or_default();
        lane.push((Arc::clone(place), asker));
        if !runs {
            let asking = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("log-ends".to_owned());
            if let Err(error) = thread.spawn(move || asking.work(leader)) {
                tracing::warn!(%error, "cannot ask for the ends of partitions");
                lanes.remove(&leader);
            }
        }
        answer
    }
}

impl Asking {
    /// Asks a leader until nobody waits for it any more.
    fn work(&self, leader: i32) {
        loop {
            let asked = {
                let mut lanes = self.lanes.lock();
                match lanes.get_mut(&leader) {
                    Some(lane) if !lane.is_empty() => std::mem::take(lane),
                    Some(_) | None => {
                        lanes.remove(&leader);
                        return;
                    }
                }
            };
            self.answer(asked);
        }
    }

    fn answer(&self, asked: Lane) {
        let until = Instant::now() + PATIENCE;
        let places: Vec<&Place> = asked.iter().map(|(place, _)| &**place).collect();
        let together = self.look_up(&places, until);
        let alone = asked.len() == 1;
        for (place, asker) in asked {
            let answer = match &together {
                // One partition that goes wrong spoils it for all.
                Err(_) if !alone && Instant::now() < until => self.look_up(&[&place], until),
                Err(error) => Err(error.clone()),
                Ok(()) => Ok(()),
            };
            // Nobody may be waiting any more.
            let _ = asker.send(answer.map(|()| place.stable()));
        }
    }

    /// Tells places where they begin and end; an error when that is not known of one of them by `until`.
    fn look_up(&self, places: &[&Place], until: Instant) -> Result<(), KafkaError> {
        let names: HashSet<_> = places
            .iter()
            .map(|place| (&*place.outside, index(&place.name)))
            .collect();
        let ask = |at: At| {
            let mut list = TopicPartitionList::with_capacity(names.len());
            for (topic, partition) in &names {
                list.add_partition_offset(topic, *partition, at)?;
            }
            let left = until.saturating_duration_since(Instant::now());
            self.client.offsets_for_times(list, left)
        };
        let found = |list: TopicPartitionList| -> Result<HashMap<_, _>, KafkaError> {
            let elements = list.elements().into_iter().map(|element| {
                element.error()?;
                match element.offset() {
                    At::Offset(at) => {
                        let name = (element.topic().to_owned(), element.partition());
                        Ok((name, offset(at)))
                    }
                    _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition)),
                }
            });
            elements.collect()
        };
        let (first, end) = (found(ask(At::Beginning)?)?, found(ask(At::End)?)?);
        for place in places {
            let name = (place.outside.to_string(), index(&place.name));
            if let (Some(first), Some(end)) = (first.get(&name), end.get(&name)) {
                place.begins_at(*first);
                place.is_stable_to(*end);
            }
        }
        Ok(())
    }
}
