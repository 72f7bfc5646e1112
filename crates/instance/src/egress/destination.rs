//! Places beyond the server that functions ask for, and those that the server's operator permits.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Characters of a name (RFC 1035).
const NAME: usize = 253;

/// A host and a port of it, over TCP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// In lower case; looked up anew for each connection.
    Name(String),
    Address(Ipv4Addr),
}

/// What is no destination, or permits none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form HOST:PORT, with a name or an IPv4 address as its host")]
pub struct NoDestination;

impl FromStr for Destination {
    type Err = NoDestination;

    fn from_str(text: &str) -> Result<Self, NoDestination> {
        let (host, port) = text.rsplit_once(':').ok_or(NoDestination)?;
        let port: u16 = port.parse().map_err(|_| NoDestination)?;
        if port == 0 {
            return Err(NoDestination);
        }
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) if is_name(host) => Host::Name(host.to_ascii_lowercase()),
            Err(_) => return Err(NoDestination),
        };
        Ok(Self { host, port })
    }
}

/// Whether it may stand in a file of names. A label that is a number belongs to no name, but to what
/// looks like an address.
fn is_name(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| !label.is_empty() && label.len() < 64 && label.bytes().all(legal);
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= NAME
        && host.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
        && !host.eq_ignore_ascii_case("localhost")
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
        }
    }
}

/// A destination that functions may ask for: `HOST:PORT`, where the host may be `*`, or begin with
/// `*.` for any name below, and the port may be `*`.
///
/// Addresses of this machine and of its link, among them those where clouds tell machines their
/// credentials, are permitted by an address in full only.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permitted {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// What a name ends with, with the dot.
    Below(String),
    One(Host),
}

impl FromStr for Permitted {
    type Err = NoDestination;

    fn from_str(text: &str) -> Result<Self, NoDestination> {
        let (host, port) = text.rsplit_once(':').ok_or(NoDestination)?;
        // Whatever the port, the host is read as a destination's.
        let one = |host: &str| format!("{host}:1").parse::<Destination>();
        let hosts = match (host, host.strip_prefix("*.")) {
            ("*", _) => Hosts::All,
            (_, Some(name)) => match one(name)?.host {
                Host::Name(name) => Hosts::Below(format!(".{name}")),
                Host::Address(_) => return Err(NoDestination),
            },
            (_, None) => Hosts::One(one(host)?.host),
        };
        let port = match port {
            "*" => None,
            port => Some(port.parse().map_err(|_| NoDestination)?),
        };
        Ok(Self { hosts, port })
    }
}

impl TryFrom<String> for Permitted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error: NoDestination| format!("{text:?}: {error}"))
    }
}

impl From<Permitted> for String {
    fn from(permitted: Permitted) -> Self {
        permitted.to_string()
    }
}

impl fmt::Display for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::All => f.write_str("*")?,
            Hosts::Below(name) => write!(f, "*{name}")?,
            Hosts::One(Host::Name(name)) => f.write_str(name)?,
            Hosts::One(Host::Address(address)) => write!(f, "{address}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl Permitted {
    /// Whether it lets a function reach `asked`.
    pub(crate) fn permits(&self, asked: &Destination) -> bool {
        let host = match (&self.hosts, &asked.host) {
            (Hosts::One(one), host) => one == host,
            (Hosts::All, Host::Name(_)) => true,
            (Hosts::All, Host::Address(address)) => is_elsewhere(IpAddr::V4(*address)),
            (Hosts::Below(name), Host::Name(host)) => host.ends_with(name),
            (Hosts::Below(_), Host::Address(_)) => false,
        };
        host && self.port.is_none_or(|port| port == asked.port)
    }
}

/// Whether an address is neither this machine's own nor on its link.
pub(crate) fn is_elsewhere(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let near = address.is_loopback() || address.is_link_local() || address.octets()[0] == 0;
            !near && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => {
            let near = address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local();
            !near && !address.is_multicast()
        }
    }
}

impl Destination {
    /// Where it is now. Names that lead to this machine or its link lead nowhere: whoever says what a
    /// name means has not been permitted those.
    pub(crate) async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Address(address) => Ok(vec![SocketAddr::from((*address, self.port))]),
            Host::Name(name) => {
                let found = tokio::net::lookup_host((name.as_str(), self.port)).await?;
                Ok(found.filter(|found| is_elsewhere(found.ip())).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(permitted: &str, asked: &str) -> bool {
        let permitted: Permitted = permitted.parse().unwrap();
        permitted.permits(&asked.parse().unwrap())
    }

    #[test]
    fn what_is_permitted_is_what_is_written() {
        for (permitted, asked) in [
            ("api.example.com:443", "API.example.com:443"),
            ("*.example.com:443", "a.b.example.com:443"),
            ("*.example.com:*", "a.example.com:1"),
            ("*:443", "example.com:443"),
            ("*:*", "10.0.0.1:5432"),
            ("127.0.0.1:5432", "127.0.0.1:5432"),
            ("169.254.169.254:80", "169.254.169.254:80"),
        ] {
            assert!(permits(permitted, asked), "{permitted} {asked}");
        }
        for (permitted, asked) in [
            ("example.com:443", "example.com:80"),
            ("example.com:443", "a.example.com:443"),
            ("*.example.com:443", "example.com:443"),
            ("*.example.com:443", "badexample.com:443"),
            ("*:*", "127.0.0.1:5432"),
            ("*:*", "169.254.169.254:80"),
            ("*:*", "0.0.0.0:80"),
            ("10.0.0.1:1", "10.0.0.2:1"),
        ] {
            assert!(!permits(permitted, asked), "{permitted} {asked}");
        }
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            "example.com",
            "example.com:0",
            "example.com:65536",
            "example.com:http",
            ":443",
            "a b:443",
            "a\n1.2.3.4 b:443",
            "localhost:80",
            "1.2.3:80",
            "[::1]:80",
            "a..b:80",
            "https://example.com:443",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
        for text in ["*:443", "*.example.com:*", "10.0.0.1:80"] {
            let permitted: Permitted = text.parse().unwrap();
            assert_eq!(permitted.to_string(), text);
        }
        for text in ["*", "*.1.2.3.4:80", "a.*:80", "*.:80", "x:"] {
            assert!(text.parse::<Permitted>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_near_is_not_elsewhere() {
        for near in [
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "224.0.0.1",
        ] {
            assert!(!is_elsewhere(near.parse().unwrap()), "{near}");
        }
        for elsewhere in ["10.0.0.1", "192.168.0.1", "8.8.8.8", "2001:db8::1"] {
            assert!(is_elsewhere(elsewhere.parse().unwrap()), "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn a_name_that_means_this_machine_leads_nowhere() {
        let name = Host::Name("localhost".to_owned());
        let found = Destination {
            host: name,
            port: 1,
        }
        .addresses()
        .await;
        assert_eq!(found.unwrap(), []);
    }
}
