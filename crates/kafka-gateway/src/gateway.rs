//! The listening socket and its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use event_log::SharedBrokerLog;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::connection;
use crate::meter;
use crate::wire::WireError;
use crate::{Advertised, Error, GatewayConfig, groups, transactions};

/// How long answers in progress may take once a stop was asked for.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to leave the socket alone when the system is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An open Kafka port over a log.
///
/// Clients can connect from [`bind`](Self::bind) on and are served while [`run`](Self::run) runs.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    broker: Arc<Broker>,
}

impl Gateway {
    /// Listens on `address`; port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`Error::Exposed`] for an address that others could reach without SASL and TLS,
    /// [`Error::NotAdvertised`] for every address at once without one to tell clients,
    /// [`Error::InvalidSetting`], [`Error::Listen`] when the system does not give us the address.
    pub async fn bind(
        address: SocketAddr,
        config: GatewayConfig,
        log: SharedBrokerLog,
    ) -> Result<Self, Error> {
        if !config.security.allows(address.ip()) {
            return Err(Error::Exposed { address });
        }
        if address.ip().is_unspecified() && config.advertised.is_none() {
            return Err(Error::NotAdvertised { address });
        }
        check(&config)?;
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let advertised = config.advertised.clone().unwrap_or_else(|| Advertised {
            host: address.ip().to_string(),
            port: address.port(),
        });
        Ok(Self {
            listener,
            address,
            broker: Arc::new(Broker::new(log, config, advertised)),
        })
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`. Then no connection is accepted and no request read any more; requests
    /// already read are answered, long polls at once with what there is, for at most five seconds.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            listener,
            address,
            broker,
        } = self;
        let clients = match (&broker.gate, &broker.config.security.tls) {
            (None, None) => "anonymous, on loopback",
            (None, Some(_)) => "anonymous, on loopback, by TLS",
            (Some(_), None) => "with SASL, on loopback",
            (Some(_), Some(_)) => "with SASL, by TLS",
        };
        tracing::info!(%address, clients, "the Kafka port is open");
        let mut connections = JoinSet::new();
        let mut timers = JoinSet::new();
        timers.spawn({
            let (broker, stop) = (broker.clone(), stop.clone());
            async move { broker.groups.run_timers(stop).await }
        });
        timers.spawn({
            let (broker, stop) = (broker.clone(), stop.clone());
            async move { transactions::run_timeouts(&broker, stop).await }
        });
        timers.spawn({
            let (broker, stop) = (broker.clone(), stop.clone());
            async move { groups::run_retention(&broker, stop).await }
        });
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => reap(ended, connections.len()),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) if connections.len() < broker.config.max_connections => {
                        connections.spawn(serve(broker.clone(), stream, peer, stop.child_token()));
                        meter::connections(connections.len());
                    }
                    Ok((_, peer)) => {
                        meter::closed("too_many_connections");
                        let limit = broker.config.max_connections;
                        tracing::warn!(%peer, limit, "kafka connection refused: the limit is reached");
                    }
                    Err(error) => {
                        tracing::error!(%error, "could not accept a kafka connection");
                        // Out of descriptors: one that closes frees them, else try again soon.
                        tokio::select! {
                            () = stop.cancelled() => break,
                            Some(ended) = connections.join_next() => reap(ended, connections.len()),
                            () = sleep_until(Instant::now() + ACCEPT_PAUSE) => {}
                        }
                    }
                },
            }
        }
        drop(listener);
        let drain = async { while connections.join_next().await.is_some() {} };
        if timeout(DRAIN, drain).await.is_err() {
            let left = connections.len();
            tracing::warn!(
                left,
                "kafka connections were cut off after the drain deadline"
            );
        }
        // Nothing holds the log any more when this returns.
        connections.shutdown().await;
        timers.shutdown().await;
        meter::connections(0);
    }
}

async fn serve(broker: Arc<Broker>, stream: TcpStream, peer: SocketAddr, gone: CancellationToken) {
    match connection::run(broker, stream, peer, gone).await {
        Ok(()) => {}
        Err(WireError::Io(error)) => tracing::debug!(%peer, %error, "kafka client left"),
        Err(error) => {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(%peer, error = cause, "kafka connection closed");
        }
    }
}

fn reap(ended: Result<(), JoinError>, left: usize) {
    if let Err(error) = ended {
        tracing::error!(%error, "a kafka connection failed");
    }
    meter::connections(left);
}

fn check(config: &GatewayConfig) -> Result<(), Error> {
    let invalid = |setting, reason| Err(Error::InvalidSetting { setting, reason });
    if config.default_partitions == 0 {
        return invalid("default_partitions", "a topic has at least one partition");
    }
    if !(1024..=1 << 30).contains(&config.max_request_bytes) {
        return invalid("max_request_bytes", "between 1 KiB and 1 GiB are taken");
    }
    if config.offsets_retention.is_zero() {
        return invalid("offsets_retention", "offsets would go as they come");
    }
    if config.max_connections == 0 {
        return invalid("max_connections", "nobody could connect");
    }
    Ok(())
}
