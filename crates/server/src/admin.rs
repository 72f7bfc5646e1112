//! What our own command line asks of a server, over HTTP with AWS signatures (service `tidemill`).
//!
//! Topics are streamed as they are; everything that is counted or rendered is counted and rendered
//! by the client, so that a report or a recount never trusts the server's own sums.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use event_log::{Offset, SharedLog, StoredRecord, Topic, TopicName, TopicPartition};
use futures::future::{select_all, try_join_all};
use futures::stream;
use metering::Progress;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::status::{Status, StatusSource};

/// The service in the scope of our own requests' signatures.
pub(crate) const SERVICE: &str = "tidemill";
/// Paths of this door begin so; no bucket may be named so.
pub(crate) const PREFIX: &str = "/_tidemill/";

/// How much of a partition is read at once.
const READ_BYTES: usize = 1 << 20;

/// One record as a line of JSON.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct TopicLine {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Payload>,
}

/// Bytes, as text where they are UTF-8.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    Text(String),
    Base64(String),
}

/// What the door needs.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) log: SharedLog,
    pub(crate) billing: Progress,
    pub(crate) status: Arc<StatusSource>,
    /// Ends streams that follow a topic.
    pub(crate) stop: CancellationToken,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    /// Only records of this key.
    key: Option<String>,
    /// Go on at the end.
    #[serde(default)]
    follow: bool,
}

/// The door; requests have passed their signature check.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/_tidemill/topics/{topic}/records", get(records))
        .route("/_tidemill/topics/{topic}/bounds", get(bounds))
        .route("/_tidemill/status", get(status))
        .route("/_tidemill/billing/settle", post(settle))
        .with_state(admin)
}

async fn status(State(admin): State<Admin>) -> Result<Json<Status>, (StatusCode, String)> {
    admin.status.read().await.map(Json).map_err(bad)
}

/// Answers once everything used so far is in the billing topic.
async fn settle(State(admin): State<Admin>) -> Response {
    match admin.billing.caught_up().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// The offsets that each partition of a topic still holds, half-open, by partition.
async fn bounds(
    State(admin): State<Admin>,
    Path(topic): Path<String>,
) -> Result<Json<BTreeMap<u32, (u64, u64)>>, (StatusCode, String)> {
    let topic = find(&admin, &topic)?;
    let bounds = held(&admin.log, topic.partitions()).await?;
    let bounds = bounds.into_iter().map(|(partition, held)| {
        let index = partition.partition.index();
        (index, (held.start.get(), held.end.get()))
    });
    Ok(Json(bounds.collect()))
}

/// Where partitions begin and end now: a reader who asks for all there is must not miss what another
/// node has just written. All are asked at once, as a cluster answers many questions in one.
async fn held(
    log: &SharedLog,
    partitions: impl IntoIterator<Item = TopicPartition>,
) -> Result<BTreeMap<TopicPartition, Range<Offset>>, (StatusCode, String)> {
    let held = partitions.into_iter().map(async |partition| {
        let end = log.end(&partition).await?;
        let start = log.bounds(&partition)?.start;
        Ok((partition, start..end))
    });
    let held = try_join_all(held).await.map_err(bad)?;
    Ok(held.into_iter().collect())
}

fn find(admin: &Admin, topic: &str) -> Result<Topic, (StatusCode, String)> {
    let name = TopicName::new(topic).map_err(bad)?;
    let missing = || {
        (
            StatusCode::NOT_FOUND,
            format!("topic {name} does not exist\n"),
        )
    };
    admin.log.topic(&name).ok_or_else(missing)
}

fn bad(error: event_log::Error) -> (StatusCode, String) {
    let status = match error {
        event_log::Error::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, format!("{error}\n"))
}

async fn records(
    State(admin): State<Admin>,
    Path(topic): Path<String>,
    Query(selection): Query<Selection>,
) -> Result<Response, (StatusCode, String)> {
    let topic = find(&admin, &topic)?;
    let key = selection.key.map(Bytes::from);
    let partitions: Vec<TopicPartition> = match &key {
        Some(key) => vec![topic.partition_for(key)],
        None => topic.partitions().collect(),
    };
    let tails = match selection.follow {
        true => {
            let tails = partitions.iter().map(|partition| admin.log.tail(partition));
            Some(tails.collect::<Result<_, _>>().map_err(bad)?)
        }
        false => None,
    };
    let cursors = held(&admin.log, partitions).await?;
    let walk = Walk {
        log: admin.log,
        key,
        cursors,
        tails,
        stop: admin.stop,
    };
    let lines = stream::unfold(walk, async |mut walk| {
        let chunk = walk.next().await?;
        Some((chunk, walk))
    });
    let body = Body::from_stream(lines);
    Ok(([("content-type", "application/x-ndjson")], body).into_response())
}

/// A reader's way through some partitions.
struct Walk {
    log: SharedLog,
    key: Option<Bytes>,
    /// What is left to read of each partition, as far as is known.
    cursors: BTreeMap<TopicPartition, Range<Offset>>,
    /// Of a reader that goes on at the end.
    tails: Option<Vec<watch::Receiver<Offset>>>,
    stop: CancellationToken,
}

impl Walk {
    /// The next lines; `None` at the end. What cannot be read is an error, which breaks the answer
    /// off: a reader must not take a part for the whole.
    async fn next(&mut self) -> Option<Result<Bytes, event_log::Error>> {
        loop {
            let open = self
                .cursors
                .iter()
                .find(|(_, left)| left.start < left.end)
                .map(|(partition, left)| (partition.clone(), left.clone()));
            let Some((partition, left)) = open else {
                self.grow().await?;
                continue;
            };
            match self.read(&partition, left).await {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Some(Ok(lines)),
                Err(error) => {
                    tracing::error!(%partition, %error, "stream a topic");
                    self.cursors.clear();
                    self.tails = None;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn read(
        &mut self,
        partition: &TopicPartition,
        left: Range<Offset>,
    ) -> Result<Bytes, event_log::Error> {
        let chunk = self.log.read(partition, left.start, READ_BYTES).await?;
        let mut lines = BytesMut::new();
        for batch in chunk.batches {
            for stored in batch.records()? {
                if stored.offset >= left.start && self.selects(&stored) {
                    let line = line(partition, stored);
                    lines.extend_from_slice(&serde_json::to_vec(&line).unwrap_or_default());
                    lines.extend_from_slice(b"\n");
                }
            }
        }
        self.cursors
            .insert(partition.clone(), chunk.next..left.end.max(chunk.next));
        Ok(lines.freeze())
    }

    fn selects(&self, stored: &StoredRecord) -> bool {
        self.key.is_none() || stored.record.key == self.key
    }

    /// Waits for more; `None` when there will be none.
    async fn grow(&mut self) -> Option<()> {
        let tails = self.tails.as_mut()?;
        let grown = select_all(tails.iter_mut().map(|tail| Box::pin(tail.changed())));
        tokio::select! {
            () = self.stop.cancelled() => return None,
            (changed, ..) = grown => changed.ok()?,
        }
        for (partition, left) in &mut self.cursors {
            if let Ok(bounds) = self.log.bounds(partition) {
                left.end = bounds.end;
            }
        }
        Some(())
    }
}

fn line(partition: &TopicPartition, stored: StoredRecord) -> TopicLine {
    TopicLine {
        partition: partition.partition.index(),
        offset: stored.offset.get(),
        timestamp: stored.record.timestamp.as_millis(),
        key: stored.record.key.map(Payload::of),
        value: stored.record.value.map(Payload::of),
    }
}

impl Payload {
    /// Wraps bytes.
    pub(crate) fn of(bytes: Bytes) -> Self {
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(BASE64.encode(error.as_bytes())),
        }
    }

    /// The bytes again.
    ///
    /// # Errors
    /// The base64 is malformed.
    pub(crate) fn into_bytes(self) -> Result<Bytes, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.into()),
            Self::Base64(text) => BASE64.decode(text).map(Into::into),
        }
    }
}
