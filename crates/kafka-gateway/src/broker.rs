//! What all connections share, and which module answers which request.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use event_log::{SharedBrokerLog, SharedLog, Topic, TopicName};
use kafka_protocol::messages::RequestKind;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::groups::Coordinator;
use crate::sasl::Gate;
use crate::strangers::Strangers;
use crate::wire::{self, Body, Request, WireError};
use crate::{
    Advertised, GatewayConfig, apis, authentication, configs, fetch, log_dirs, metadata, offsets,
};
use crate::{partitions, producers, topic_pages, topics, transactions};

/// The only node there is.
pub(crate) const NODE: i32 = 1;
/// The cluster's id, as clients show it.
pub(crate) const CLUSTER: &str = "tidemill";
/// Room for requests that are read and not yet answered, all connections together, in bytes: that
/// for ordinary ones, and that for large ones.
const REQUEST_ROOM: usize = 128 << 20;
const LARGE_REQUEST_ROOM: usize = 256 << 20;
/// Larger requests are large, in bytes. Clients' own limits are 1 MiB unless changed. They have a
/// room of their own, so that a client which claims much and sends little holds up nobody else.
const LARGE_REQUEST: usize = 2 << 20;
/// Room for what large requests are decoded to, besides their frames, in bytes.
const DECODED_ROOM: usize = 256 << 20;
/// Room for fetched records on their way out, all connections together, in bytes.
pub(crate) const ANSWER_ROOM: usize = 256 << 20;
/// Semaphores count in these units, so that 32 bits of permits reach far enough.
const ROOM_UNIT: usize = 1024;

/// The gateway behind its connections.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) log: SharedLog,
    /// The same log as it is stored.
    pub(crate) stored: SharedBrokerLog,
    pub(crate) config: GatewayConfig,
    pub(crate) advertised: Advertised,
    pub(crate) groups: Coordinator,
    /// Knows the login; `None` where clients are anonymous.
    pub(crate) gate: Option<Gate>,
    pub(crate) strangers: Arc<Strangers>,
    requests: Room,
    large_requests: Room,
    /// For what requests are decoded to that have taken room for their frames before. Whoever holds
    /// some waits for no other room of requests.
    pub(crate) decoded: Room,
    pub(crate) answers: Room,
    pub(crate) sessions: fetch::Sessions,
    ids: Mutex<TopicIds>,
}

/// A budget of bytes in memory.
#[derive(Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// Part of a budget; it returns when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Space {
    held: Option<OwnedSemaphorePermit>,
    /// Of another budget.
    _beside: Option<OwnedSemaphorePermit>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The client's address without its port, as `DescribeGroups` shows it.
    pub(crate) host: Arc<str>,
    /// Cancelled when the client is gone or the gateway stops: waiting is over.
    pub(crate) gone: CancellationToken,
    /// The connection's fetch session.
    pub(crate) session: fetch::Held,
}

/// An encoded answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The frame; `None` when the client asked for no answer.
    pub(crate) frame: Option<Bytes>,
    /// The room that the answer takes until it is written.
    pub(crate) space: Space,
}

/// Names of topics by id; a cache of the log's list.
#[derive(Debug)]
struct TopicIds {
    names: HashMap<Uuid, TopicName>,
    changed: watch::Receiver<u64>,
}

impl Broker {
    pub(crate) fn new(
        stored: SharedBrokerLog,
        config: GatewayConfig,
        advertised: Advertised,
    ) -> Self {
        let log: SharedLog = stored.clone();
        let mut changed = log.topics_changed();
        changed.mark_changed();
        let large = LARGE_REQUEST_ROOM.max(config.max_request_bytes);
        Self {
            groups: Coordinator::new(config.member_session),
            gate: config.security.sasl.clone().map(Gate::new),
            strangers: Strangers::among(config.max_connections),
            requests: Room::of(REQUEST_ROOM),
            large_requests: Room::of(large),
            decoded: Room::of(DECODED_ROOM),
            answers: Room::of(ANSWER_ROOM),
            sessions: fetch::Sessions::default(),
            ids: Mutex::new(TopicIds {
                names: HashMap::new(),
                changed,
            }),
            log,
            stored,
            config,
            advertised,
        }
    }

    /// Waits for the room of a request of so many bytes. A caller must hold no other meanwhile.
    pub(crate) async fn request_space(&self, bytes: usize) -> Space {
        let room = if bytes > LARGE_REQUEST {
            &self.large_requests
        } else {
            &self.requests
        };
        room.take(bytes).await
    }

    /// The topic of that name, as far as clients may see it.
    pub(crate) fn topic(&self, name: &TopicName) -> Option<Topic> {
        let seen = !self.config.hides(name.as_str());
        seen.then(|| self.log.topic(name)).flatten()
    }

    /// Every topic that clients may see.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        let mut topics = self.log.topics();
        topics.retain(|topic| !self.config.hides(topic.name.as_str()));
        topics
    }

    /// The topic with that id, as far as clients may see it.
    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<Topic> {
        let name = {
            let mut ids = self.ids.lock();
            if ids.changed.has_changed().unwrap_or(false) {
                ids.changed.mark_unchanged();
                ids.names = self
                    .topics()
                    .into_iter()
                    .map(|topic| (topic.id, topic.name))
                    .collect();
            }
            ids.names.get(&id)?.clone()
        };
        self.log.topic(&name).filter(|topic| topic.id == id)
    }

    /// Answers any request but Produce, which the pipeline submits early.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request,
        client: Client,
    ) -> Result<Answer, WireError> {
        let Request { header, body } = request;
        let version = header.version;
        let body = match body {
            Body::Served(body) => body,
            Body::FutureApiVersions => {
                return Ok(Answer::of(wire::encode_future_api_versions(&header)?));
            }
        };
        let frame = match body {
            RequestKind::ApiVersions(_) => wire::encode(&header, &apis::versions()),
            RequestKind::SaslHandshake(_) => {
                wire::encode(&header, &authentication::handshake_out_of_place())
            }
            RequestKind::SaslAuthenticate(_) => {
                wire::encode(&header, &authentication::token_out_of_place())
            }
            RequestKind::Metadata(asked) => {
                let (response, space) = metadata::metadata(&self, asked, version).await;
                let frame = Some(wire::encode(&header, &response)?);
                return Ok(Answer { frame, space });
            }
            RequestKind::DescribeCluster(asked) => {
                wire::encode(&header, &metadata::cluster(&self, &asked))
            }
            RequestKind::FindCoordinator(asked) => {
                wire::encode(&header, &metadata::coordinator(&self, asked, version))
            }
            RequestKind::Fetch(asked) => {
                let (response, space) = fetch::fetch(&self, asked, version, &client).await;
                let frame = wire::encode(&header, &response)?;
                return Ok(Answer {
                    frame: Some(frame),
                    space,
                });
            }
            RequestKind::ListOffsets(asked) => {
                wire::encode(&header, &offsets::list(&self, asked, version).await)
            }
            RequestKind::OffsetForLeaderEpoch(asked) => {
                wire::encode(&header, &offsets::for_leader_epoch(&self, asked))
            }
            RequestKind::CreateTopics(asked) => {
                wire::encode(&header, &topics::create(&self, asked, version).await)
            }
            RequestKind::DeleteTopics(asked) => {
                wire::encode(&header, &topics::delete(&self, asked, version).await)
            }
            RequestKind::CreatePartitions(asked) => {
                wire::encode(&header, &partitions::create(&self, asked).await)
            }
            RequestKind::DescribeConfigs(asked) => {
                wire::encode(&header, &configs::describe(&self, asked, version))
            }
            RequestKind::AlterConfigs(asked) => {
                wire::encode(&header, &configs::alter(&self, asked).await)
            }
            RequestKind::IncrementalAlterConfigs(asked) => {
                wire::encode(&header, &configs::alter_incrementally(&self, asked).await)
            }
            RequestKind::DeleteRecords(asked) => {
                wire::encode(&header, &partitions::delete_records(&self, asked).await)
            }
            RequestKind::DescribeTopicPartitions(asked) => {
                wire::encode(&header, &topic_pages::describe(&self, asked))
            }
            RequestKind::DescribeLogDirs(asked) => {
                wire::encode(&header, &log_dirs::describe(&self, asked))
            }
            RequestKind::InitProducerId(asked) => {
                wire::encode(&header, &producers::init(&self, asked, version).await)
            }
            other => return transactions::answer(&self, header, other, &client).await,
        };
        Ok(Answer::of(frame?))
    }
}

impl Answer {
    /// An answer that is small.
    pub(crate) fn of(frame: Bytes) -> Self {
        Self {
            frame: Some(frame),
            space: Space::default(),
        }
    }
}

impl Room {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / ROOM_UNIT)))
    }

    /// Waits for room. A caller must hold none of the same room while it waits.
    pub(crate) async fn take(&self, bytes: usize) -> Space {
        let permit = self.0.clone().acquire_many_owned(units(bytes)).await;
        Space::of(permit.expect("the semaphore is never closed"))
    }

    /// Room, if there is some right now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Space> {
        let permit = self.0.clone().try_acquire_many_owned(units(bytes)).ok()?;
        Some(Space::of(permit))
    }
}

impl Space {
    fn of(permit: OwnedSemaphorePermit) -> Self {
        Self {
            held: Some(permit),
            _beside: None,
        }
    }

    /// This, and with it some of another room.
    pub(crate) fn beside(self, other: Self) -> Self {
        Self {
            _beside: other.held,
            ..self
        }
    }

    /// Adds `other` to this; both must come from the same room.
    pub(crate) fn merge(&mut self, other: Self) {
        match (&mut self.held, other.held) {
            (Some(held), Some(more)) => held.merge(more),
            (held @ None, more) => *held = more,
            (Some(_), None) => {}
        }
    }

    /// Gives back what is held above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if let Some(held) = &mut self.held {
            let surplus = held.num_permits().saturating_sub(units(bytes) as usize);
            drop(held.split(surplus));
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX)
}
