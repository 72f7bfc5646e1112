//! Which database to read, and how.

use std::path::PathBuf;

use serde::Deserialize;

use crate::Naming;

/// A PostgreSQL database (15 or newer, `wal_level = logical`) and the tables to read from it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The names under which tables appear.
    pub naming: Naming,
    /// `postgres://user:password@host:port/database`. The user needs the right to replicate.
    pub url: String,
    /// The user's password, where the address holds none.
    #[serde(default)]
    pub password: Option<String>,
    /// Tables, as `schema.table` or `table` in the schema `public`: those to publish when the
    /// publication has to be created. May be empty when it exists.
    #[serde(default)]
    pub tables: Vec<String>,
    /// The publication; `tidemill_<connection>` when absent.
    #[serde(default)]
    pub publication: Option<String>,
    /// The replication slot, which belongs to this connector alone; `tidemill_<connection>` when
    /// absent.
    #[serde(default)]
    pub slot: Option<String>,
    /// A file with certificates (PEM) of the authorities that may vouch for the server. Connections
    /// are encrypted and the server's name is checked when it is given; without, they are plain.
    #[serde(default)]
    pub ca_certificates: Option<PathBuf>,
    /// Bytes of write-ahead log that the server may have to keep for us before an alarm is raised.
    #[serde(default = "retained_wal_budget")]
    pub retained_wal_budget: u64,
    /// Where large transactions in progress are put aside.
    #[serde(default = "spool_folder")]
    pub spool_folder: PathBuf,
}

/// 1 GiB: half of what PostgreSQL keeps for itself between checkpoints by default, twice over.
const fn retained_wal_budget() -> u64 {
    1 << 30
}

fn spool_folder() -> PathBuf {
    PathBuf::from("/var/tmp")
}

/// The address holds a password: shown without it.
impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("naming", &self.naming)
            .field("tables", &self.tables)
            .field("publication", &self.publication())
            .field("slot", &self.slot())
            .finish_non_exhaustive()
    }
}

impl PostgresConfig {
    /// The publication's name.
    #[must_use]
    pub fn publication(&self) -> String {
        self.own_name(self.publication.as_deref())
    }

    /// The slot's name.
    #[must_use]
    pub fn slot(&self) -> String {
        self.own_name(self.slot.as_deref())
    }

    fn own_name(&self, given: Option<&str>) -> String {
        let connection = &self.naming.connection;
        // Slots have lower-case letters, digits and underscores only.
        let legal = |char: char| match char.to_ascii_lowercase() {
            char if char.is_ascii_alphanumeric() => char,
            _ => '_',
        };
        given.map_or_else(
            || {
                format!(
                    "tidemill_{}",
                    connection.chars().map(legal).collect::<String>()
                )
            },
            str::to_owned,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<PostgresConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn an_address_and_a_name_are_enough() {
        let config = parse(
            r#"{"naming": {"connection": "Shop-1"}, "url": "postgres://u:secret@h/d", "tables": ["a"]}"#,
        );
        let config = config.unwrap();
        assert_eq!(config.slot(), "tidemill_shop_1");
        assert_eq!(config.publication(), "tidemill_shop_1");
        assert_eq!(config.retained_wal_budget, 1 << 30);
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let refused = parse(r#"{"naming": {"connection": "a"}, "url": "", "slots": 1}"#);
        assert!(refused.unwrap_err().to_string().contains("`slots`"));
    }
}
