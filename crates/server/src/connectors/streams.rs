//! Tables' streams by their ARNs.

use std::sync::Arc;

use api::{TableStream, TableStreams};
use event_log::{SharedLog, TopicName};

use super::kind::{Rest, Tables};
use super::{ConnectorName, Definition, Definitions};

/// Finds the stream of a table that a connector reads.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Streams {
    /// The ARNs of a connector's streams, as far as they are known: of tables that are named, and of
    /// those that something was read of.
    pub(crate) fn of(&self, definition: &Definition, log: &SharedLog) -> Vec<String> {
        let Tables::Some { mut names, .. } = definition.settings.as_kind().tables() else {
            return Vec::new();
        };
        let prefix = format!("table.{}.", definition.name);
        for topic in log.topics() {
            if let Some(table) = topic.name.as_str().strip_prefix(&prefix)
                && !names.iter().any(|name| name == table)
            {
                names.push(table.to_owned());
            }
        }
        let arn = |table| format!("{}{table}/stream/{}", self.prefix(), definition.name);
        names.iter().map(arn).collect()
    }

    fn prefix(&self) -> String {
        format!("arn:aws:dynamodb:{}:{}:table/", self.region, self.account)
    }
}

impl TableStreams for Streams {
    fn find(&self, arn: &str) -> Option<TableStream> {
        let (table, label) = arn.strip_prefix(&self.prefix())?.split_once("/stream/")?;
        let name: ConnectorName = label.parse().ok()?;
        let connector = self.definitions.get(&name).ok()?;
        let tables = connector.definition.settings.as_kind().tables();
        match tables {
            Tables::None => None,
            Tables::Some {
                names,
                rest,
                partitions,
            } => {
                let known = names.iter().any(|name| name == table) || rest == Rest::Unknown;
                let topic = TopicName::new(format!("table.{name}.{table}")).ok();
                topic
                    .filter(|_| known)
                    .map(|topic| TableStream { topic, partitions })
            }
        }
    }
}
