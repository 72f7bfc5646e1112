//! Which database to read, and how.

use std::path::PathBuf;

use serde::Deserialize;

use crate::Naming;

/// A MySQL (8.0 or newer) or MariaDB (10.5 or newer) database and the tables to read from it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MysqlConfig {
    /// The names under which tables appear.
    pub naming: Naming,
    /// `mysql://user@host:port/database`. The user needs `REPLICATION SLAVE`, `REPLICATION CLIENT`
    /// (MariaDB: `BINLOG MONITOR`) and `SELECT` on the tables, with MySQL also `LOCK TABLES`.
    pub url: String,
    /// The user's password, where the address holds none.
    #[serde(default)]
    pub password: Option<String>,
    /// Tables, as `table` of the address's database or `database.table`.
    pub tables: Vec<String>,
    /// What the server knows us by among its replicas: no other one may have it. Chosen at random
    /// when absent.
    #[serde(default)]
    pub server_id: Option<u32>,
    /// A file with certificates (PEM) of the authorities that may vouch for the server. Connections
    /// are encrypted and the server's name is checked when it is given; without, they are plain.
    #[serde(default)]
    pub ca_certificates: Option<PathBuf>,
    /// Where large transactions are put aside.
    #[serde(default = "spool_folder")]
    pub spool_folder: PathBuf,
}

fn spool_folder() -> PathBuf {
    PathBuf::from("/var/tmp")
}

/// The address may hold a password: shown without it.
impl std::fmt::Debug for MysqlConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MysqlConfig")
            .field("naming", &self.naming)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<MysqlConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn passwords_are_not_shown() {
        let json = r#"{"naming": {"connection": "shop"}, "url": "mysql://u:hush@h/d", "tables": ["a"], "password": "hush"}"#;
        assert!(!format!("{:?}", parse(json).unwrap()).contains("hush"));
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let refused =
            parse(r#"{"naming": {"connection": "a"}, "url": "", "tables": [], "gtid": 1}"#);
        assert!(refused.unwrap_err().to_string().contains("`gtid`"));
    }
}
