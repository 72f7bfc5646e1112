//! Under which names the page may be asked for.

use std::net::IpAddr;

use http::uri::Authority;

/// Loopback and the server's own names. A page asked for under any other name was reached through
/// somebody else's name for this machine (DNS rebinding).
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    own: Vec<String>,
}

impl Hosts {
    /// Loopback, and `own` names or addresses without port.
    #[must_use]
    pub fn loopback_and(own: impl IntoIterator<Item = String>) -> Self {
        Self {
            own: own.into_iter().collect(),
        }
    }

    /// Whether a `Host` header (or `:authority`) names us, whatever the port.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        // An authority may carry credentials; a Host header may not.
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || self.own.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_own_names_are_ours_on_any_port() {
        let hosts = Hosts::loopback_and(["mill.example".to_owned()]);
        for host in [
            "127.0.0.1:4566",
            "127.8.8.8",
            "localhost:80",
            "LOCALHOST",
            "[::1]:4566",
            "mill.example:4566",
        ] {
            assert!(hosts.contains(host), "{host}");
        }
    }

    #[test]
    fn names_that_only_look_like_ours_are_not() {
        let hosts = Hosts::loopback_and(["mill.example".to_owned()]);
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "10.0.0.1:4566",
            "mill.example.evil",
            "localhost, evil.example",
        ] {
            assert!(!hosts.contains(host), "{host}");
        }
    }
}
