//! Hands extensions what they subscribed to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as UnconnectedStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use clock::SharedClock;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::runtime_api::{Batch, Extensions, Lost};

/// How long an extension may take to accept a batch. Meanwhile its instance does not rest.
const LIMIT: Duration = Duration::from_secs(5);

/// How an instance's own listeners are reached.
pub(super) enum Dialer {
    /// By a socket of the sandbox's network, for one connection after another.
    Inside(OwnedFd),
    /// There is no sandbox.
    Outside,
}

impl Dialer {
    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self {
            Self::Inside(socket) => {
                // The connection before this one is over.
                rustix::net::connect_unspec(socket)?;
                let same = UnconnectedStream::from(socket.try_clone()?);
                TcpSocket::from_std_stream(same).connect(address).await
            }
            Self::Outside => TcpStream::connect(address).await,
        }
    }
}

/// Delivers until it is aborted. `awake` is held while a batch is under way, and by whoever has the
/// instance rest: nobody in there could answer then.
pub(super) async fn deliver(
    extensions: Arc<Extensions>,
    dialer: Dialer,
    awake: Arc<Semaphore>,
    clock: SharedClock,
) {
    let telemetry = extensions.telemetry();
    loop {
        telemetry.due().await;
        let Ok(_awake) = awake.acquire().await else {
            return;
        };
        while let Some(batch) = telemetry.take() {
            let sent = tokio::time::timeout(LIMIT, send(&dialer, &batch)).await;
            let failure = match sent {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {LIMIT:?}")),
            };
            let arrived = match &failure {
                None => Ok(()),
                Some(failure) => {
                    tracing::debug!(extension = batch.name, failure, "telemetry is dropped");
                    Err(Lost)
                }
            };
            telemetry.handed_over(&batch, arrived, clock.now());
        }
    }
}

/// Posts a batch, on a connection of its own: who serves one at a time serves others in between.
async fn send(dialer: &Dialer, batch: &Batch) -> io::Result<()> {
    let to = &batch.destination;
    let stream = dialer.connect(to.port).await?;
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http1::handshake(io).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    // Ends with this function, and the connection with it.
    let mut connected = JoinSet::new();
    connected.spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(&to.path)
        .header(HOST, &to.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(array(&batch.events)))
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await;
    let response = response.map_err(io::Error::other)?;
    let status = response.status();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(io::Error::other)?;
    }
    if status.is_success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the answer was {status}")))
    }
}

/// A JSON array of them.
fn array(events: &[Bytes]) -> Bytes {
    let size = events.iter().map(|event| event.len() + 1).sum::<usize>();
    let mut array = BytesMut::with_capacity(size + 2);
    let mut before = b'[';
    for event in events {
        array.put_u8(before);
        array.put_slice(event);
        before = b',';
    }
    array.put_u8(b']');
    array.freeze()
}
