//! Why a gateway cannot open.

use std::net::SocketAddr;

/// Why [`Gateway::bind`](crate::Gateway::bind) failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reject: others can reach the address, and clients would be anonymous or readable.
    #[error(
        "the Kafka port may listen on {address}, which others can reach, only with both SASL and TLS"
    )]
    Exposed {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Reject: no client could connect to the address that it would be told.
    #[error(
        "the Kafka port listens on {address}, which no client can connect to: set the advertised address"
    )]
    NotAdvertised {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Reject: certificate or key cannot be used.
    #[error("the TLS {part} cannot be used")]
    InvalidTls {
        /// Certificate, key or protocol.
        part: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Reject: a setting makes no sense.
    #[error("kafka gateway setting {setting} is invalid: {reason}")]
    InvalidSetting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Fatal: the operating system does not give us the address.
    #[error("could not listen on {address} for Kafka clients")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn tls(
        part: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::InvalidTls {
            part,
            source: source.into(),
        }
    }
}
