//! A client that speaks single frames.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use event_log::{MemoryLog, SharedLog};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::samples;
use crate::{Gateway, GatewayConfig};

/// A gateway that serves until this is stopped.
pub(super) struct Served {
    pub(super) log: SharedLog,
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    pub(super) async fn new() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    pub(super) async fn with(config: GatewayConfig) -> Self {
        Self::over(MemoryLog::new(), config).await
    }

    /// A gateway over a log that may hold something.
    pub(super) async fn over(log: Arc<MemoryLog>, config: GatewayConfig) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let gateway = Gateway::bind(any, config, log.clone()).await.unwrap();
        let address = gateway.local_addr();
        let stop = CancellationToken::new();
        let task = tokio::spawn(gateway.run(stop.clone()));
        Self {
            log,
            address,
            stop,
            task,
        }
    }

    pub(super) async fn client(&self) -> Client {
        Client::over(TcpStream::connect(self.address).await.unwrap())
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub(super) struct Client<S = TcpStream> {
    pub(super) stream: S,
    correlation: i32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client that speaks over `stream`.
    pub(super) fn over(stream: S) -> Self {
        Self {
            stream,
            correlation: 0,
        }
    }

    /// Sends a request and returns its correlation id.
    pub(super) async fn send(&mut self, api: ApiKey, version: i16, body: &RequestKind) -> i32 {
        self.correlation += 1;
        let frame = samples::frame(api, version, self.correlation, body);
        self.send_frame(&frame).await;
        self.correlation
    }

    pub(super) async fn send_frame(&mut self, frame: &[u8]) {
        let len = i32::try_from(frame.len()).unwrap();
        let whole = [&len.to_be_bytes(), frame].concat();
        self.stream.write_all(&whole).await.unwrap();
    }

    /// The next answer; panics unless it is whole and nothing is left over.
    pub(super) async fn receive(&mut self, api: ApiKey, version: i16) -> (i32, ResponseKind) {
        let mut frame = self.receive_frame().await.expect("an answer");
        let header =
            ResponseHeader::decode(&mut frame, api.response_header_version(version)).unwrap();
        let body = ResponseKind::decode(api, &mut frame, version)
            .unwrap_or_else(|error| panic!("{api:?} v{version}: {error:#}"));
        assert!(
            !frame.has_remaining(),
            "{api:?} v{version}: bytes left over"
        );
        (header.correlation_id, body)
    }

    /// The next frame; `None` when the gateway closed the connection.
    pub(super) async fn receive_frame(&mut self) -> Option<Bytes> {
        let len = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    pub(super) async fn call(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &RequestKind,
    ) -> ResponseKind {
        let sent = self.send(api, version, body).await;
        let (answered, body) = self.receive(api, version).await;
        assert_eq!(sent, answered);
        body
    }
}

/// Calls with a typed request and returns the typed answer.
macro_rules! call {
    ($client:expr, $api:ident, $version:expr, $request:expr) => {{
        let body = kafka_protocol::messages::RequestKind::$api($request);
        let api = kafka_protocol::messages::ApiKey::$api;
        match $client.call(api, $version, &body).await {
            kafka_protocol::messages::ResponseKind::$api(response) => response,
            other => panic!("not an answer to {api:?}: {other:?}"),
        }
    }};
}
pub(super) use call;
