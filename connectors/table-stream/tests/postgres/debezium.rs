//! Debezium, as it is embedded in programs.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::database::{Database, skip};
use crate::oracle::{Step, shown, text};

/// A Java with Debezium's jars.
pub(crate) struct Debezium {
    java: PathBuf,
    jars: PathBuf,
}

impl Debezium {
    /// If the environment names both.
    pub(crate) fn find(test: &str) -> Option<Self> {
        const VARIABLES: [&str; 2] = ["TIDEMILL_TEST_JAVA", "TIDEMILL_TEST_DEBEZIUM"];
        let [java, jars] = VARIABLES.map(|name| std::env::var_os(name).map(PathBuf::from));
        match (java, jars) {
            (Some(java), Some(jars)) => Some(Self { java, jars }),
            _ => {
                skip(test, "Debezium", VARIABLES[1]);
                None
            }
        }
    }

    /// Has the database keep everything from now on.
    pub(crate) async fn prepare(&self, database: &Database) {
        let name = slot(database);
        let publication = format!("CREATE PUBLICATION {name} FOR TABLE item");
        database.run(&publication).await;
        let slot = format!("SELECT FROM pg_create_logical_replication_slot('{name}', 'pgoutput')");
        database.run(&slot).await;
    }

    /// Everything from then on, up to the row whose `id` is `last`.
    pub(crate) fn received(&self, database: &Database, last: &str) -> Vec<Step> {
        let url: tokio_postgres::Config = database.url().parse().unwrap();
        let tokio_postgres::config::Host::Tcp(host) = &url.get_hosts()[0] else {
            panic!("{url:?}");
        };
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres/Debezium.java");
        let received = Command::new(&self.java)
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg(program)
            .args([host, &url.get_ports()[0].to_string(), database.name()])
            .args(["item", &slot(database), last])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&received.stderr);
        assert!(received.status.success(), "{errors}");
        let lines = String::from_utf8(received.stdout).unwrap();
        lines.lines().map(step).collect()
    }
}

fn slot(database: &Database) -> String {
    format!("debezium_{}", database.name())
}

fn step(line: &str) -> Step {
    let (key, value) = line.split_once('\t').unwrap();
    let [key, value] = [key, value].map(|json| serde_json::from_str::<Value>(json).unwrap());
    Step {
        op: match value["op"].as_str() {
            Some("c") => "insert",
            Some("u") => "modify",
            Some("d") => "remove",
            other => panic!("{other:?}: {value}"),
        },
        key: text(&key["id"]),
        row: shown(&value["after"]),
    }
}
