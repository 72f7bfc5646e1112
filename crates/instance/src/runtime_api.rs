//! AWS's Runtime API, version 2018-06-01: how an instance asks for events and answers them.
//!
//! Every instance has a listener of its own on a loopback interface. Which listener accepted a
//! request says which instance sent it, so no instance can speak for another by mistake. In a
//! sandbox the interface is the sandbox's own, and nobody outside can reach the listener at all.
//!
//! The [`Exchange`] is the state between the two sides, [`Extensions`] that of what runs beside the
//! runtime, and [`Telemetry`] what it is told; [`http`], [`extension_http`] and [`telemetry_http`] put
//! them on the wire.

mod exchange;
mod extension_http;
mod extensions;
mod http;
mod telemetry;
mod telemetry_http;

use std::sync::Arc;

use clock::SharedClock;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[cfg(feature = "fuzzing")]
pub(crate) use http::connection;

pub(crate) use exchange::{Answer, Exchange, Initialisation, Report};
pub(crate) use extensions::{ExtensionState, Extensions, Reason};
pub(crate) use telemetry::{Batch, Lost, Stream, event};

/// Connections of one instance at a time; more wait to be accepted. Each takes a descriptor of the server's,
/// even when nobody is at its other end any more: that is not noticed of one that waits for an event with
/// further requests behind.
const MOST_CONNECTIONS: usize = 128;

/// The Runtime API of one instance. Dropping it closes every connection.
pub(crate) struct RuntimeApi {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) extensions: Arc<Extensions>,
    _server: JoinSet<()>,
}

impl RuntimeApi {
    /// Serves whoever connects to `listener`.
    pub(crate) fn over(listener: TcpListener, clock: SharedClock, extensions: Extensions) -> Self {
        let exchange = Arc::new(Exchange::new(clock));
        let extensions = Arc::new(extensions);
        let mut server = JoinSet::new();
        let both = (Arc::clone(&exchange), Arc::clone(&extensions));
        server.spawn(serve(listener, both.0, both.1));
        Self {
            exchange,
            extensions,
            _server: server,
        }
    }
}

/// Accepts until it is aborted, which closes the connections too.
async fn serve(listener: TcpListener, exchange: Arc<Exchange>, extensions: Arc<Extensions>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => {
                // Errors of accept concern the connection, or descriptors that others will free.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let (exchange, extensions) = (Arc::clone(&exchange), Arc::clone(&extensions));
                let connection = http::connection(TokioIo::new(stream), exchange, extensions);
                connections.spawn(connection);
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clock::SystemClock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::{Initialization, LogFormat, Spec};

    fn spec() -> Spec {
        Spec {
            account: "000000000000".to_owned(),
            function: "f".to_owned(),
            version: "$LATEST".to_owned(),
            revision: "1".to_owned(),
            arn: "arn".to_owned(),
            region: "us-east-1".to_owned(),
            runtime: "provided.al2023".parse().unwrap(),
            handler: "h".to_owned(),
            code: Default::default(),
            image: None,
            opt: None,
            memory_mib: 128,
            temporary_mib: 512,
            timeout: Duration::from_secs(3),
            environment: Default::default(),
            log_group: "/aws/lambda/f".to_owned(),
            log_format: LogFormat::Text,
            initialization: Initialization::OnDemand,
        }
    }

    async fn asked(connection: &mut TcpStream) -> String {
        let request = b"GET /nothing HTTP/1.1\r\n\r\n";
        connection.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn an_instance_has_so_many_connections_and_further_ones_wait_for_a_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock: SharedClock = Arc::new(SystemClock::new());
        let _api = RuntimeApi::over(listener, clock, Extensions::new(&spec(), Vec::new()));
        let mut held = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            let mut connection = TcpStream::connect(address).await.unwrap();
            assert_eq!(asked(&mut connection).await, "HTTP/1.1 404");
            held.push(connection);
        }
        let mut waiting = TcpStream::connect(address).await.unwrap();
        let moment = Duration::from_millis(50);
        let early = tokio::time::timeout(moment, asked(&mut waiting)).await;
        assert!(early.is_err(), "one more was served: {early:?}");
        held.pop();
        let mut answer = [0; 12];
        waiting.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
    }
}
