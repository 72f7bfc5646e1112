//! What a function may reach beside its Runtime API.
//!
//! A sandboxed instance has a network of its own in which nothing answers but what is put there. Code
//! written for Lambda expects to reach the account's AWS APIs, which here is the server's own endpoint:
//! that is granted unless the function says otherwise. Everything else has to be asked for, by the
//! function's environment variable [`EGRESS`].

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};

/// The environment variable by which a function asks: `none`, or `kafka`, or nothing.
pub const EGRESS: &str = "TIDEMILL_EGRESS";

/// What one function was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Nothing at all.
    Nothing,
    /// The server's own endpoint: S3, Lambda.
    OwnEndpoint,
    /// The server's own endpoint and its Kafka port.
    OwnEndpointAndKafka,
}

/// Why a wish cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedEgress {
    /// It names something else than what there is.
    #[error(
        "{EGRESS} is {value:?}: it takes `none` or `kafka`; other destinations are not supported yet"
    )]
    Unknown {
        /// The variable's value.
        value: String,
    },
    /// The server has no Kafka port of its own.
    #[error("{EGRESS} is \"kafka\", and this server has no Kafka port of its own")]
    NoKafkaPort,
}

impl Egress {
    /// What a function with this environment is granted.
    ///
    /// # Errors
    /// When it asks for what cannot be granted.
    pub fn of(environment: &BTreeMap<String, String>) -> Result<Self, UnsupportedEgress> {
        match environment.get(EGRESS).map(String::as_str) {
            None => Ok(Self::OwnEndpoint),
            Some("none") => Ok(Self::Nothing),
            Some("kafka") => Ok(Self::OwnEndpointAndKafka),
            Some(value) => Err(UnsupportedEgress::Unknown {
                value: value.to_owned(),
            }),
        }
    }
}

/// A port of the server's, and where instances find it.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Its address on the loopback interface of an instance.
    pub inside: SocketAddrV4,
    /// Where the server listens.
    pub outside: SocketAddr,
}

impl Endpoint {
    /// The port that listens on `outside`. Instances find it at the same address if that is one of
    /// the loopback interface, and else at 127.0.0.1.
    #[must_use]
    pub fn at(outside: SocketAddr) -> Self {
        let localhost = std::net::Ipv4Addr::LOCALHOST;
        let inside = match outside {
            SocketAddr::V4(address) if address.ip().is_loopback() => address,
            SocketAddr::V4(_) | SocketAddr::V6(_) => SocketAddrV4::new(localhost, outside.port()),
        };
        let outside = match outside {
            SocketAddr::V4(address) if address.ip().is_unspecified() => inside.into(),
            SocketAddr::V6(address) if address.ip().is_unspecified() => inside.into(),
            SocketAddr::V4(_) | SocketAddr::V6(_) => outside,
        };
        Self { inside, outside }
    }
}

/// The server's ports that functions may be granted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Endpoints {
    /// S3 and Lambda.
    pub own: Option<Endpoint>,
    /// Kafka.
    pub kafka: Option<Endpoint>,
}

impl Endpoints {
    /// Those that `egress` grants.
    ///
    /// # Errors
    /// When it asks for the Kafka port and there is none.
    pub(crate) fn granted(&self, egress: Egress) -> Result<Vec<Endpoint>, UnsupportedEgress> {
        let (own, kafka) = match egress {
            Egress::Nothing => (None, None),
            Egress::OwnEndpoint => (self.own, None),
            Egress::OwnEndpointAndKafka => {
                let kafka = self.kafka.ok_or(UnsupportedEgress::NoKafkaPort)?;
                (self.own, Some(kafka))
            }
        };
        Ok(own.into_iter().chain(kafka).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_granted_is_refused_by_name() {
        let asks =
            |value: &str| Egress::of(&BTreeMap::from([(EGRESS.to_owned(), value.to_owned())]));
        assert_eq!(Egress::of(&BTreeMap::new()), Ok(Egress::OwnEndpoint));
        assert_eq!(asks("none"), Ok(Egress::Nothing));
        assert_eq!(asks("kafka"), Ok(Egress::OwnEndpointAndKafka));
        for value in ["", "*", "example.com:443", "Kafka"] {
            let refused = asks(value).unwrap_err().to_string();
            assert!(refused.contains(&format!("{value:?}")), "{refused}");
        }
    }

    #[test]
    fn an_endpoint_is_found_on_the_loopback_interface() {
        let at = |address: &str| {
            let endpoint = Endpoint::at(address.parse().unwrap());
            (endpoint.inside.to_string(), endpoint.outside.to_string())
        };
        let both = |inside: &str, outside: &str| (inside.to_owned(), outside.to_owned());
        assert_eq!(
            at("127.0.0.1:4566"),
            both("127.0.0.1:4566", "127.0.0.1:4566")
        );
        assert_eq!(at("0.0.0.0:80"), both("127.0.0.1:80", "127.0.0.1:80"));
        assert_eq!(at("10.0.0.5:80"), both("127.0.0.1:80", "10.0.0.5:80"));
        assert_eq!(at("[::1]:80"), both("127.0.0.1:80", "[::1]:80"));
    }
}
