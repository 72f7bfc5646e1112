//! What may be said of an address: everything but the password.

use std::fmt;
use std::str::FromStr;

use mysql_async::Opts;

/// A `mysql://` or `mariadb://` URL that was understood.
#[derive(Clone)]
pub struct MysqlAddress {
    options: Opts,
    database: String,
    shown: String,
}

/// Text that is no address of a database. It is not repeated: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("it is no mysql:// URL with a user, a host and a database, and without parameters")]
pub struct NotAMysqlAddress;

impl MysqlAddress {
    /// Whether the URL holds a password.
    #[must_use]
    pub fn holds_password(&self) -> bool {
        self.options.pass().is_some()
    }

    /// The database that tables are of when they name none.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    pub(super) const fn options(&self) -> &Opts {
        &self.options
    }
}

impl FromStr for MysqlAddress {
    type Err = NotAMysqlAddress;

    fn from_str(url: &str) -> Result<Self, NotAMysqlAddress> {
        let rest = ["mysql://", "mariadb://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or(NotAMysqlAddress)?;
        if rest.contains('?') {
            return Err(NotAMysqlAddress);
        }
        let options = Opts::from_url(&format!("mysql://{rest}")).map_err(|_| NotAMysqlAddress)?;
        let (Some(user), Some(database)) = (options.user(), options.db_name()) else {
            return Err(NotAMysqlAddress);
        };
        let (host, port) = (options.ip_or_hostname(), options.tcp_port());
        if user.is_empty() || database.is_empty() || host.is_empty() {
            return Err(NotAMysqlAddress);
        }
        Ok(Self {
            shown: format!("mysql://{user}@{host}:{port}/{database}"),
            database: database.to_owned(),
            options,
        })
    }
}

/// The address without a password.
impl fmt::Display for MysqlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Like [`Display`](fmt::Display).
impl fmt::Debug for MysqlAddress {
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
            ("mysql://ada@db.example/shop", false),
            ("mysql://ada:hush@db.example:3306/shop", true),
            ("mariadb://ada@db.example/shop", false),
        ] {
            let address: MysqlAddress = url.parse().unwrap();
            assert_eq!(address.to_string(), "mysql://ada@db.example:3306/shop");
            assert_eq!(address.holds_password(), holds, "{url}");
            assert_eq!(address.database(), "shop");
            assert!(!format!("{address:?}").contains("hush"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for url in [
            "ada:hush@db/shop",
            "mysql://db.example/shop",
            "mysql://ada:hush@db.example",
            "mysql://ada:hush@db/shop?require_ssl=true",
            "postgres://ada:hush@db/shop",
        ] {
            let refused = url.parse::<MysqlAddress>().unwrap_err();
            assert!(!refused.to_string().contains("hush"), "{url}");
        }
    }
}
