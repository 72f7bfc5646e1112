//! Incremental fetch sessions (KIP-227): a client names its partitions once and then only what
//! changes about them, and hears only of partitions that have something new.
//!
//! A session lives with its connection, which has at most one: clients open one per broker and
//! begin anew after they have reconnected. What sessions keep in memory has a common bound; a client
//! for whom there is no room is answered without a session and goes on naming everything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::error_code::Refusal;

/// Partitions in all sessions together; each takes up to 500 bytes.
const MAX_PARTITIONS: usize = 200_000;
/// The longest name of a topic, in bytes; longer ones name none.
const MAX_NAME: usize = 249;
/// The epoch of a fetch that wants no session.
const FINAL_EPOCH: i32 = -1;
/// The epoch of a fetch that wants a new session.
const INITIAL_EPOCH: i32 = 0;

/// What the sessions of all connections share.
#[derive(Debug)]
pub(crate) struct Sessions {
    room: Arc<Semaphore>,
    latest_id: AtomicI32,
}

/// The session of one connection, if it has one.
pub(crate) type Held = Arc<Mutex<Option<Session>>>;

/// What a client has asked for so far, and what it has heard.
#[derive(Debug)]
pub(crate) struct Session {
    id: i32,
    /// The epoch that the next fetch must name.
    epoch: i32,
    naming: Naming,
    partitions: HashMap<Key, Interest>,
    /// Whose turn it is: who has got records goes to the end, so that nobody starves.
    turns: BTreeMap<u64, Key>,
    next_turn: u64,
    room: OwnedSemaphorePermit,
}

/// How a session's requests name topics. It cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    ByName,
    ById,
}

/// A partition as requests name it; of name and id one is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    topic: TopicName,
    id: Uuid,
    partition: i32,
}

#[derive(Debug)]
struct Interest {
    asked: FetchPartition,
    turn: u64,
    /// High watermark, last stable offset and log start that the client knows; none when it must
    /// hear of the partition again.
    told: Option<[i64; 3]>,
}

/// One fetch on its way.
#[derive(Debug)]
pub(super) enum Turn {
    /// It belongs to no session.
    Alone,
    /// It opens one: the answer is complete.
    First(Session),
    /// It goes on with one: the answer has what is new.
    Next(Session),
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(MAX_PARTITIONS)),
            latest_id: AtomicI32::new(0),
        }
    }
}

impl Sessions {
    /// Begins a fetch: takes the connection's session if it goes on, and makes the request name
    /// everything that is to be fetched.
    pub(super) fn begin(
        &self,
        held: &Held,
        request: &mut FetchRequest,
        naming: Naming,
    ) -> Result<Turn, Refusal> {
        let mut held = held.lock();
        match request.session_epoch {
            FINAL_EPOCH => {
                if held
                    .as_ref()
                    .is_some_and(|held| held.id == request.session_id)
                {
                    *held = None;
                }
                Ok(Turn::Alone)
            }
            INITIAL_EPOCH => {
                *held = None;
                Ok(self
                    .open(&request.topics, naming)
                    .map_or(Turn::Alone, Turn::First))
            }
            epoch => {
                let not_found = || {
                    let code = ResponseError::FetchSessionIdNotFound;
                    Refusal::new(code, "this connection has no such fetch session")
                };
                let session = held.as_ref().filter(|held| held.id == request.session_id);
                let session = session.ok_or_else(not_found)?;
                if session.epoch != epoch {
                    return Err(Refusal::new(
                        ResponseError::InvalidFetchSessionEpoch,
                        "the fetch session is in another epoch",
                    ));
                }
                if session.naming != naming {
                    return Err(Refusal::new(
                        ResponseError::FetchSessionTopicIdError,
                        "a fetch session cannot change how topics are named",
                    ));
                }
                let mut session = held.take().ok_or_else(not_found)?;
                session.forget(&request.forgotten_topics_data);
                if !self.extend(&mut session, &request.topics) {
                    return Err(not_found());
                }
                request.topics = session.topics();
                Ok(Turn::Next(session))
            }
        }
    }

    fn open(&self, topics: &[FetchTopic], naming: Naming) -> Option<Session> {
        let mut session = Session {
            id: self.next_id(),
            epoch: INITIAL_EPOCH,
            naming,
            partitions: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            room: self.room.clone().try_acquire_many_owned(0).ok()?,
        };
        self.extend(&mut session, topics).then_some(session)
    }

    /// Adds partitions, and changes those that are there; false when there is no room.
    fn extend(&self, session: &mut Session, topics: &[FetchTopic]) -> bool {
        for topic in topics {
            for asked in &topic.partitions {
                // Nothing of the request may stay: it would keep the whole frame in memory.
                let asked = asked.clone().with_unknown_tagged_fields(BTreeMap::new());
                if topic.topic.len() > MAX_NAME {
                    return false;
                }
                let key = Key {
                    topic: TopicName(StrBytes::from_string(topic.topic.to_string())),
                    id: topic.topic_id,
                    partition: asked.partition,
                };
                if let Some(interest) = session.partitions.get_mut(&key) {
                    interest.asked = asked;
                    continue;
                }
                let Ok(room) = self.room.clone().try_acquire_owned() else {
                    return false;
                };
                session.room.merge(room);
                session.add(key, asked);
            }
        }
        true
    }

    /// Ids are never 0, and none is given twice in a row of two thousand million.
    fn next_id(&self) -> i32 {
        self.latest_id
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
            .wrapping_abs()
            .max(1)
    }
}

impl Turn {
    /// Ends a fetch: leaves only what is new in the answer, and keeps the session for the next one.
    pub(super) fn end(self, held: &Held, response: &mut FetchResponse) {
        let (mut session, complete) = match self {
            Self::Alone => return,
            Self::First(session) => (session, Complete::Yes),
            Self::Next(session) => (session, Complete::No),
        };
        response.session_id = session.id;
        for topic in &mut response.responses {
            let (name, id) = (topic.topic.clone(), topic.topic_id);
            topic.partitions.retain(|data| {
                let key = Key {
                    topic: name.clone(),
                    id,
                    partition: data.partition_index,
                };
                session.tells(key, data) || complete == Complete::Yes
            });
        }
        let is_new = |topic: &FetchableTopicResponse| !topic.partitions.is_empty();
        response.responses.retain(is_new);
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        *held.lock() = Some(session);
    }
}

/// Whether an answer names partitions that have nothing new.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Complete {
    Yes,
    No,
}

impl Session {
    fn add(&mut self, key: Key, asked: FetchPartition) {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns.insert(turn, key.clone());
        let interest = Interest {
            asked,
            turn,
            told: None,
        };
        self.partitions.insert(key, interest);
    }

    fn forget(&mut self, topics: &[ForgottenTopic]) {
        for topic in topics {
            for partition in &topic.partitions {
                let key = Key {
                    topic: topic.topic.clone(),
                    id: topic.topic_id,
                    partition: *partition,
                };
                if let Some(interest) = self.partitions.remove(&key) {
                    self.turns.remove(&interest.turn);
                    drop(self.room.split(1));
                }
            }
        }
    }

    /// Everything the client is interested in, by turns.
    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics = Vec::<FetchTopic>::new();
        for key in self.turns.values() {
            let Some(interest) = self.partitions.get(key) else {
                continue;
            };
            let asked = interest.asked.clone();
            match topics.last_mut() {
                Some(last) if last.topic == key.topic && last.topic_id == key.id => {
                    last.partitions.push(asked);
                }
                _ => topics.push(
                    FetchTopic::default()
                        .with_topic(key.topic.clone())
                        .with_topic_id(key.id)
                        .with_partitions(vec![asked]),
                ),
            }
        }
        topics
    }

    /// Whether the client learns something from `data`; from now on it knows it.
    fn tells(&mut self, key: Key, data: &PartitionData) -> bool {
        let Some(interest) = self.partitions.get_mut(&key) else {
            return true;
        };
        if data.error_code != 0 {
            interest.told = None;
            return true;
        }
        let told = Some([
            data.high_watermark,
            data.last_stable_offset,
            data.log_start_offset,
        ]);
        let has_records = data
            .records
            .as_ref()
            .is_some_and(|records| !records.is_empty());
        let is_new = has_records || interest.told != told;
        interest.told = told;
        if has_records {
            self.turns.remove(&interest.turn);
            interest.turn = self.next_turn;
            self.next_turn += 1;
            self.turns.insert(interest.turn, key);
        }
        is_new
    }
}
