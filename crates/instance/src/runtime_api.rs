//! AWS's Runtime API, version 2018-06-01: how an instance asks for events and answers them.
//!
//! Every instance has a listener of its own on a loopback interface. Which listener accepted a
//! request says which instance sent it, so no instance can speak for another by mistake. In a
//! sandbox the interface is the sandbox's own, and nobody outside can reach the listener at all.
//!
//! The [`Exchange`] is the state between the two sides; [`http`] puts it on the wire.

mod exchange;
mod http;

use std::sync::Arc;

use clock::SharedClock;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) use exchange::{Answer, Exchange, Initialisation, Report};

/// The Runtime API of one instance. Dropping it closes every connection.
pub(crate) struct RuntimeApi {
    pub(crate) exchange: Arc<Exchange>,
    _server: JoinSet<()>,
}

impl RuntimeApi {
    /// Serves whoever connects to `listener`.
    pub(crate) fn over(listener: TcpListener, clock: SharedClock) -> Self {
        let exchange = Arc::new(Exchange::new(clock));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&exchange)));
        Self {
            exchange,
            _server: server,
        }
    }
}

/// Accepts until it is aborted, which closes the connections too.
async fn serve(listener: TcpListener, exchange: Arc<Exchange>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Errors of accept concern the connection, or descriptors that others will free.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let connection = http::connection(TokioIo::new(stream), Arc::clone(&exchange));
                connections.spawn(connection);
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
