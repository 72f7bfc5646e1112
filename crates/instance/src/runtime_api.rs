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

pub(crate) use exchange::{Answer, Exchange, Initialisation, Report};
pub(crate) use extensions::{ExtensionState, Extensions, Reason};
pub(crate) use telemetry::{Batch, Lost, Stream, event};

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
            accepted = listener.accept() => {
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
