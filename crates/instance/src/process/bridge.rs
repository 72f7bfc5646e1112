//! From a listener inside a sandbox to a port of the server's, and nowhere else.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections that one instance may have open to one port. Lambda's SDKs keep tens.
const CONNECTIONS: usize = 128;

/// Passes on whatever connects, until it is aborted, which closes the connections too.
pub(super) async fn bridge(listener: TcpListener, to: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                // Errors of accept concern the connection, or descriptors that others will free.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(pass(stream, to));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(mut from: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    from.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut from, &mut server).await?;
    Ok(())
}
