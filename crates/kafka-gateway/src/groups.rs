//! Consumer groups: the classic protocol, eager and cooperative, and the consumer protocol, both
//! with static members.
//!
//! [`group::Group`] and [`consumer::Group`] decide, [`coordinator::Coordinator`] keeps the groups,
//! their waiting clients and their timers. Who is in a group lives in memory only: after a restart members join again.
//! What a group has committed lives in the log, as checkpoints of consumer `group/<id>`, and is
//! durable before the answer.

mod admin;
mod admission;
mod commits;
mod consumer;
mod coordinator;
mod group;
mod member;
mod membership;
mod note;
mod offset_delete;
mod rebalance;
mod retention;
mod staging;
mod subscription;

use std::sync::Arc;

use event_log::ConsumerId;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::RequestKind;

use crate::broker::{Answer, Broker, Client};
use crate::error_code::Refusal;
use crate::wire::{self, Header, WireError};

pub(crate) use coordinator::Coordinator;
pub(crate) use retention::run_retention;
pub(crate) use staging::stage;

/// In front of a group's id in the name of its consumer.
const PREFIX: &str = "group/";
/// The longest id of a group, in bytes.
const MAX_ID: usize = 1_024;

/// Answers the requests of groups.
pub(crate) async fn answer(
    broker: &Arc<Broker>,
    header: Header,
    body: RequestKind,
    client: &Client,
) -> Result<Answer, WireError> {
    let version = header.version;
    let frame = match body {
        RequestKind::JoinGroup(asked) => {
            let joined = membership::join(broker, asked, &header, client).await;
            wire::encode(&header, &joined)
        }
        RequestKind::SyncGroup(asked) => {
            let synced = membership::sync(broker, asked, version, client).await;
            wire::encode(&header, &synced)
        }
        RequestKind::Heartbeat(asked) => {
            wire::encode(&header, &membership::heartbeat(broker, &asked))
        }
        RequestKind::LeaveGroup(asked) => {
            wire::encode(&header, &membership::leave(broker, asked, version))
        }
        RequestKind::OffsetCommit(asked) => {
            wire::encode(&header, &commits::commit(broker, asked).await)
        }
        RequestKind::OffsetFetch(asked) => {
            wire::encode(&header, &commits::fetch(broker, asked, version))
        }
        RequestKind::ConsumerGroupHeartbeat(asked) => {
            let beaten = consumer::heartbeat(broker, asked, &header, client);
            wire::encode(&header, &beaten)
        }
        RequestKind::ConsumerGroupDescribe(asked) => {
            wire::encode(&header, &consumer::describe(broker, asked, version))
        }
        RequestKind::ListGroups(asked) => {
            wire::encode(&header, &admin::list(broker, &asked, version))
        }
        RequestKind::DescribeGroups(asked) => {
            wire::encode(&header, &admin::describe(broker, asked, version))
        }
        RequestKind::DeleteGroups(asked) => {
            wire::encode(&header, &admin::delete(broker, asked).await)
        }
        RequestKind::OffsetDelete(asked) => {
            wire::encode(&header, &offset_delete::delete(broker, asked).await)
        }
        other => {
            // The table of served APIs and this match are held together by a test.
            let reason = format!("nothing answers {other:?}");
            return Err(WireError::Malformed {
                api: header.api,
                version,
                reason,
            });
        }
    };
    Ok(Answer::of(frame?))
}

/// The consumer in the log that stands for a group.
fn consumer(group: &str) -> ConsumerId {
    ConsumerId::new(format!("{PREFIX}{group}"))
}

/// The consumer that stands for a group in a transaction.
pub(crate) fn transactional_consumer(group: &str) -> Result<ConsumerId, Refusal> {
    check_id(group)?;
    Ok(consumer(group))
}

/// The group that a consumer in the log stands for, if it stands for one.
fn group_of(consumer: &ConsumerId) -> Option<&str> {
    consumer.as_str().strip_prefix(PREFIX)
}

fn check_id(group: &str) -> Result<(), Refusal> {
    if group.is_empty() || group.len() > MAX_ID {
        return Err(Refusal::new(
            ResponseError::InvalidGroupId,
            format!("a group's id has 1 to {MAX_ID} bytes"),
        ));
    }
    Ok(())
}
