//! Which file to read, and how.

use std::path::PathBuf;

use serde::Deserialize;

use crate::Naming;

/// A SQLite database and the tables to read from it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The names under which tables appear.
    pub naming: Naming,
    /// The database. The connector must be allowed to write it, and its folder.
    pub file: PathBuf,
    /// Tables by name. None named: all there are, also those that come later.
    #[serde(default)]
    pub tables: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_a_name_are_enough() {
        let json = r#"{"naming": {"connection": "shop"}, "file": "/srv/shop.db"}"#;
        let config: SqliteConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.file, PathBuf::from("/srv/shop.db"));
        assert!(config.tables.is_empty());
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let json = r#"{"naming": {"connection": "shop"}, "file": "a", "table": ["b"]}"#;
        let refused = serde_json::from_str::<SqliteConfig>(json).unwrap_err();
        assert!(refused.to_string().contains("`table`"), "{refused}");
    }
}
