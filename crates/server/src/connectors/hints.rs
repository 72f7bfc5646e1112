//! Notifications of other stores: `POST /_tidemill/notifications/<connector>` with the connector's own
//! bearer token, as MinIO-compatible stores' webhooks send it.
//!
//! A notification is a hint and no more: whoever holds the token can have objects looked at, and has
//! nothing written that the store does not say itself. So it is answered as soon as it is passed on, and
//! nothing of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use bytes::Bytes;
use connector_object_store::{ChannelState, ChannelWatch, Hints, hints_of};
use parking_lot::Mutex;

use super::ConnectorName;
use crate::operator::same_secret;

/// Paths of this door begin so.
pub(crate) const PREFIX: &str = "/_tidemill/notifications/";

/// A store sends one record or a few; this is some thousand.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Who follows hints on this node.
#[derive(Debug, Default)]
pub(crate) struct HintBoard {
    heard: Mutex<BTreeMap<ConnectorName, Listener>>,
    channels: Mutex<BTreeMap<ConnectorName, (String, ChannelWatch)>>,
}

/// A connector that follows hints.
#[derive(Clone)]
pub(super) struct Listener {
    /// The bucket that it watches.
    pub(super) bucket: String,
    /// What its notifications carry.
    pub(super) token: String,
    pub(super) hints: Hints,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

impl HintBoard {
    /// From now on, notifications for a connector go to this one.
    pub(super) fn listen(&self, name: &ConnectorName, listener: Listener) {
        self.heard.lock().insert(name.clone(), listener);
    }

    /// From now on, this is the channel by which a connector's hints come: what its user calls it.
    pub(super) fn come_by(&self, name: &ConnectorName, what: String, channel: ChannelWatch) {
        self.channels.lock().insert(name.clone(), (what, channel));
    }

    /// The channel by which a connector's hints come, and how that fares; `None` where it has none that it
    /// listens to.
    pub(super) fn channel(&self, name: &ConnectorName) -> Option<(String, ChannelState)> {
        let (what, channel) = self.channels.lock().get(name).cloned()?;
        Some((what, channel.state()?))
    }

    fn of(&self, name: &str, token: &[u8]) -> Option<Listener> {
        let name: ConnectorName = name.parse().ok()?;
        let listener = self.heard.lock().get(&name).cloned()?;
        same_secret(listener.token.as_bytes(), token).then_some(listener)
    }
}

/// The door. It checks the token by itself, before it reads the body.
pub(crate) fn notifications(board: Arc<HintBoard>) -> Router {
    Router::new()
        .route("/_tidemill/notifications/{name}", post(notified))
        .with_state(board)
}

type Refusal = (StatusCode, String);

async fn notified(
    State(board): State<Arc<HintBoard>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<StatusCode, Refusal> {
    let token = headers.get(header::AUTHORIZATION);
    let token = token.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // One answer for every reason: whether there is such a connector is nobody's business.
    let refused = || {
        let text = "a notification needs the bearer token of a connector that takes them and is read here\n";
        (StatusCode::UNAUTHORIZED, text.to_owned())
    };
    let listener = token.and_then(|token| board.of(&name, token));
    let listener = listener.ok_or_else(refused)?;
    let too_large = || {
        let text = format!("a notification has {MAX_BODY_BYTES} bytes at most\n");
        (StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let announced = body.size_hint().lower();
    if announced > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await;
    let body: Bytes = body.map_err(|_| too_large())?;
    let hints = hints_of(&body, &listener.bucket).map_err(|error| {
        (
            StatusCode::BAD_REQUEST,
            format!("{}\n", super::board::line(&error)),
        )
    })?;
    metrics::counter!("tidemill_connector_hints_total", "connector" => name)
        .increment(hints.len() as u64);
    // Where nobody listens (it stands still, or another node reads it), a listing will find it.
    for hint in hints {
        listener
            .hints
            .put(hint)
            .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("{error} here\n")))?;
    }
    Ok(StatusCode::NO_CONTENT)
}
