//! What may be said of an address: everything but the password.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::config::Host;

/// A `postgres://` URL that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresAddress {
    shown: String,
    password: Password,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Password {
    Within,
    Elsewhere,
}

/// Text that is no address of a database. It is not repeated: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("it is no postgres:// URL with a user, a host and a database")]
pub struct NotAnAddress;

impl PostgresAddress {
    /// Whether the URL holds a password.
    #[must_use]
    pub fn holds_password(&self) -> bool {
        self.password == Password::Within
    }
}

impl FromStr for PostgresAddress {
    type Err = NotAnAddress;

    fn from_str(url: &str) -> Result<Self, NotAnAddress> {
        let schemes = ["postgres://", "postgresql://"];
        if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(NotAnAddress);
        }
        let config: tokio_postgres::Config = url.parse().map_err(|_| NotAnAddress)?;
        let (Some(user), Some(database)) = (config.get_user(), config.get_dbname()) else {
            return Err(NotAnAddress);
        };
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(index, host)| {
                let ports = config.get_ports();
                let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            })
            .collect();
        if hosts.is_empty() {
            return Err(NotAnAddress);
        }
        Ok(Self {
            shown: format!("postgres://{user}@{}/{database}", hosts.join(",")),
            password: match config.get_password() {
                Some(_) => Password::Within,
                None => Password::Elsewhere,
            },
        })
    }
}

/// The address without a password and without parameters.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, holds) in [
            ("postgres://ada@db.example/shop", false),
            ("postgres://ada:hush@db.example:5432/shop", true),
            ("postgresql://ada@db.example/shop?password=hush", true),
        ] {
            let address: PostgresAddress = url.parse().unwrap();
            assert_eq!(address.to_string(), "postgres://ada@db.example:5432/shop");
            assert_eq!(address.holds_password(), holds, "{url}");
            assert!(!format!("{address:?}").contains("hush"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for url in [
            "host=db user=ada dbname=shop password=hush",
            "postgres://db.example/shop",
            "postgres://ada@db.example",
            "mysql://ada:hush@db/shop",
        ] {
            let refused = url.parse::<PostgresAddress>().unwrap_err();
            assert!(!refused.to_string().contains("hush"), "{url}");
        }
    }
}
