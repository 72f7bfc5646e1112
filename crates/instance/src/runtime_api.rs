//! AWS's Runtime API, version 2018-06-01: how an instance asks for events and answers them.
//!
//! Every instance has a listener of its own on the loopback interface. Which listener accepted a
//! request says which instance sent it, so no instance can speak for another by mistake; keeping
//! out processes that try to is the work of isolation.
//!
//! The [`Exchange`] is the state between the two sides; [`http`] puts it on the wire.

mod exchange;
mod http;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clock::SharedClock;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) use exchange::{Answer, Exchange, Initialisation, Report};

/// The Runtime API of one instance. Dropping it closes every connection.
pub(crate) struct RuntimeApi {
    pub(crate) exchange: Arc<Exchange>,
    address: SocketAddr,
    _server: JoinSet<()>,
}

impl RuntimeApi {
    /// Opens the listener.
    pub(crate) async fn listen(clock: SharedClock) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let exchange = Arc::new(Exchange::new(clock));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&exchange)));
        Ok(Self {
            exchange,
            address,
            _server: server,
        })
    }

    /// `HOST:PORT`, as instances are told it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
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
