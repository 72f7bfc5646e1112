//! A network that can stop carrying.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes TCP connections on, until it is told to carry nothing more of those that there are. Dropping
/// it closes all.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    to: watch::Sender<Option<String>>,
    swallowed: Arc<watch::Sender<u64>>,
    _connections: JoinSet<()>,
}

impl Proxy {
    /// Listens; connections wait until [`forward_to`](Self::forward_to) says where to.
    ///
    /// # Errors
    /// No port is free.
    pub async fn bind() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (to, target) = watch::channel(None);
        let swallowed = Arc::new(watch::Sender::new(0));
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, target, Arc::clone(&swallowed)));
        Ok(Self {
            address,
            to,
            swallowed,
            _connections: connections,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Where connections lead.
    pub fn forward_to(&self, address: String) {
        self.to.send_replace(Some(address));
    }

    /// From now on nothing passes on the connections that there are, in either direction, and nobody is
    /// told: they stay open. New ones are passed on.
    pub fn swallow(&self) {
        self.swallowed.send_modify(|count| *count += 1);
    }
}

async fn accept(
    listener: TcpListener,
    mut target: watch::Receiver<Option<String>>,
    swallowed: Arc<watch::Sender<u64>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let Ok(to) = target.wait_for(Option::is_some).await else {
            return;
        };
        let to = to.clone().unwrap_or_default();
        let mut swallowed = swallowed.subscribe();
        connections.spawn(async move {
            let Ok(mut server) = TcpStream::connect(to).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = swallowed.changed() => std::future::pending().await,
            }
        });
    }
}
