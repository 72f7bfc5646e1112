//! Why a gateway cannot open.

use std::net::SocketAddr;

/// Why [`Gateway::bind`](crate::Gateway::bind) failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reject: anonymous clients may not come over a network.
    #[error(
        "the Kafka port takes anonymous clients on loopback only, not on {address}; \
         bind 127.0.0.1 or [::1]"
    )]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
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
