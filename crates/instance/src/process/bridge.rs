//! From a listener inside a sandbox to where it was granted a way, and nowhere else.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::egress::Target;

/// Connections that one instance may have open to one port. Lambda's SDKs keep tens.
const CONNECTIONS: usize = 128;

/// Passes on whatever connects, until it is aborted, which closes the connections too.
pub(super) async fn bridge(listener: TcpListener, to: Target) {
    let to = Arc::new(to);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                // Errors of accept concern the connection, or descriptors that others will free.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(pass(stream, Arc::clone(&to)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(mut from: TcpStream, to: Arc<Target>) -> io::Result<()> {
    let mut there = match &*to {
        Target::Server(address) => TcpStream::connect(address).await?,
        Target::Elsewhere(destination) => {
            let addresses = destination.addresses().await?;
            TcpStream::connect(addresses.as_slice()).await?
        }
    };
    from.set_nodelay(true)?;
    there.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut from, &mut there).await?;
    Ok(())
}
