//! What a function may reach beside its Runtime API.
//!
//! A sandboxed instance has a network of its own in which nothing answers but what is put there. Code
//! written for Lambda expects to reach the account's AWS APIs, which here is the server's own endpoint:
//! that is granted unless the function says otherwise. Everything else has to be asked for, by the
//! function's environment variable [`EGRESS`], and permitted by the server's operator: a port of a host
//! elsewhere is then found in the sandbox under the host's own name or address, where the server listens
//! and passes on.

mod destination;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

pub use destination::{Destination, NoDestination, Permitted};

use destination::Host;

/// The environment variable by which a function asks: `none`, `kafka` and destinations as `HOST:PORT`,
/// with commas between.
pub const EGRESS: &str = "TIDEMILL_EGRESS";

/// Destinations that one function may have: each costs a descriptor for every instance.
const DESTINATIONS: usize = 10;

/// The network inside in which hosts elsewhere have their addresses, by their names.
const NAMED: [u8; 3] = [127, 100, 0];

/// What one function asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The server's own endpoint: S3, Lambda.
    own: Wish,
    /// The server's Kafka port.
    kafka: Wish,
    elsewhere: BTreeSet<Destination>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Yes,
    No,
}

/// Why a wish cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedEgress {
    /// It names something that is none.
    #[error("{EGRESS}: {value:?} is neither `none` nor `kafka` nor a destination: {source}")]
    Unknown {
        /// That part of the variable's value.
        value: String,
        /// What a destination looks like.
        source: NoDestination,
    },
    /// It names too many.
    #[error("{EGRESS} names {count} destinations; {DESTINATIONS} are the most")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// The operator has not permitted it.
    #[error(
        "{EGRESS}: {destination} is not permitted by this server: whoever runs it can add it to \
         `egress` under [functions]"
    )]
    NotPermitted {
        /// What was asked for.
        destination: Destination,
    },
    /// The server has no Kafka port of its own.
    #[error("{EGRESS} names \"kafka\", and this server has no Kafka port of its own")]
    NoKafkaPort,
}

impl Egress {
    /// What a function with this environment asks for.
    ///
    /// # Errors
    /// When that is nothing that there could be.
    pub fn of(environment: &BTreeMap<String, String>) -> Result<Self, UnsupportedEgress> {
        let mut asked = Self {
            own: Wish::Yes,
            kafka: Wish::No,
            elsewhere: BTreeSet::new(),
        };
        let Some(value) = environment.get(EGRESS) else {
            return Ok(asked);
        };
        for part in value.split(',').map(str::trim) {
            match part {
                "none" => asked.own = Wish::No,
                "kafka" => asked.kafka = Wish::Yes,
                destination => {
                    let parsed = destination.parse();
                    let unknown = |source| UnsupportedEgress::Unknown {
                        value: destination.to_owned(),
                        source,
                    };
                    asked.elsewhere.insert(parsed.map_err(unknown)?);
                }
            }
        }
        match asked.elsewhere.len() {
            count if count > DESTINATIONS => Err(UnsupportedEgress::TooMany { count }),
            _ => Ok(asked),
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

/// What functions may be granted.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// S3 and Lambda.
    pub own: Option<Endpoint>,
    /// Kafka.
    pub kafka: Option<Endpoint>,
    /// What functions may reach elsewhere.
    pub permitted: Vec<Permitted>,
}

/// A way out of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Where it begins, inside.
    pub(crate) inside: SocketAddrV4,
    pub(crate) to: Target,
    /// By which name `inside` is known there.
    pub(crate) name: Option<String>,
}

/// Where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Server(SocketAddr),
    Elsewhere(Destination),
}

impl Endpoints {
    /// Whether a function may have what it asks for.
    ///
    /// # Errors
    /// When it asks for the Kafka port and there is none, or for what is not permitted.
    pub fn check(&self, asked: &Egress) -> Result<(), UnsupportedEgress> {
        self.granted(asked).map(drop)
    }

    /// The ways that `asked` opens.
    pub(crate) fn granted(&self, asked: &Egress) -> Result<Vec<Granted>, UnsupportedEgress> {
        let own = match asked.own {
            Wish::Yes => self.own,
            Wish::No => None,
        };
        let kafka = match asked.kafka {
            Wish::Yes => Some(self.kafka.ok_or(UnsupportedEgress::NoKafkaPort)?),
            Wish::No => None,
        };
        let mut granted: Vec<_> = own
            .into_iter()
            .chain(kafka)
            .map(|endpoint| Granted {
                inside: endpoint.inside,
                to: Target::Server(endpoint.outside),
                name: None,
            })
            .collect();
        let mut names: Vec<&str> = Vec::new();
        for destination in &asked.elsewhere {
            let mut permitted = self.permitted.iter();
            if !permitted.any(|permitted| permitted.permits(destination)) {
                let destination = destination.clone();
                return Err(UnsupportedEgress::NotPermitted { destination });
            }
            let (address, name) = match &destination.host {
                Host::Address(address) => (*address, None),
                Host::Name(name) => {
                    // They are sorted: one host's destinations are neighbours.
                    if names.last() != Some(&name.as_str()) {
                        names.push(name);
                    }
                    let [a, b, c] = NAMED;
                    let host = u8::try_from(names.len()).unwrap_or(u8::MAX);
                    (Ipv4Addr::new(a, b, c, host), Some(name.clone()))
                }
            };
            let inside = SocketAddrV4::new(address, destination.port);
            // What leads to the server there already stays.
            if granted.iter().all(|other| other.inside != inside) {
                let to = Target::Elsewhere(destination.clone());
                granted.push(Granted { inside, to, name });
            }
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_granted_is_refused_by_name() {
        let endpoints = Endpoints {
            own: Some(Endpoint::at("127.0.0.1:4566".parse().unwrap())),
            kafka: None,
            permitted: vec!["*.example.com:443".parse().unwrap()],
        };
        let asks = |value: &str| {
            let environment = BTreeMap::from([(EGRESS.to_owned(), value.to_owned())]);
            Egress::of(&environment).and_then(|asked| endpoints.granted(&asked))
        };
        let usual = endpoints.granted(&Egress::of(&BTreeMap::new()).unwrap());
        assert_eq!(usual.unwrap().len(), 1);
        assert_eq!(asks("none"), Ok(Vec::new()));
        assert_eq!(asks("kafka"), Err(UnsupportedEgress::NoKafkaPort));
        for value in ["", "*", "example.com", "Kafka", "none,x"] {
            let refused = asks(value).unwrap_err().to_string();
            let part = value.rsplit(',').next().unwrap();
            assert!(refused.contains(&format!("{part:?}")), "{refused}");
        }
        let refused = asks("a.example.com:443, a.example.com:80").unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("a.example.com:80 is not"), "{refused}");
        let many: Vec<_> = (1..=11).map(|n| format!("h{n}.example.com:443")).collect();
        let refused = asks(&many.join(",")).unwrap_err();
        assert_eq!(refused, UnsupportedEgress::TooMany { count: 11 });
    }

    #[test]
    fn each_host_has_one_address_inside_and_an_address_its_own() {
        let endpoints = Endpoints {
            permitted: vec!["*:*".parse().unwrap()],
            ..Endpoints::default()
        };
        let value = "b.example:80,a.example:80,a.example:443,10.0.0.7:5432";
        let environment = BTreeMap::from([(EGRESS.to_owned(), value.to_owned())]);
        let granted = endpoints.granted(&Egress::of(&environment).unwrap());
        let found: Vec<_> = granted
            .unwrap()
            .into_iter()
            .map(|granted| (granted.inside.to_string(), granted.name.unwrap_or_default()))
            .collect();
        let expected = [
            ("127.100.0.1:80", "a.example"),
            ("127.100.0.1:443", "a.example"),
            ("127.100.0.2:80", "b.example"),
            ("10.0.0.7:5432", ""),
        ];
        assert_eq!(
            found,
            expected.map(|(at, name)| (at.to_owned(), name.to_owned()))
        );
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
