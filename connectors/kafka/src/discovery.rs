//! Which topics a cluster has now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector::SourceError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::{Metadata, MetadataTopic};

use crate::complaint::{Complaints, Failure, MOMENT};
use crate::failure::{classify, rejected, unavailable};
use crate::selection::is_nameable;
use crate::{Connection, Selection};

/// How long the cluster may take for an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// What the cluster says of a topic.
#[derive(Debug)]
pub enum Presence {
    /// It has so many partitions.
    There(u32),
    /// There is no such topic.
    Missing,
    /// There may be one, and it cannot be read for the reason given.
    Unclear(SourceError),
}

/// Every topic that `selections` name, whether it is there or not, and every topic that a pattern among
/// them selects now, by name.
///
/// # Errors
/// Any class: the cluster was not asked, or did not answer.
pub async fn discover(
    connection: Arc<Connection>,
    selections: Vec<Selection>,
) -> Result<BTreeMap<String, Presence>, SourceError> {
    let act = format!(
        "ask the cluster of connector {} for topics",
        connection.name
    );
    // These calls of librdkafka wait on the thread that makes them.
    let asking = act.clone();
    let asked = tokio::task::spawn_blocking(move || {
        ask(&connection, &selections).map_err(|failure| failure.of(asking, &connection))
    });
    match asked.await {
        Ok(answer) => answer,
        Err(died) => Err(unavailable(act, died)),
    }
}

/// A client that asks, and keeps why it is refused.
type Asking = BaseConsumer<Complaints>;

fn ask(
    connection: &Connection,
    selections: &[Selection],
) -> Result<BTreeMap<String, Presence>, Failure> {
    let asking: Asking = connection
        .client()
        .create_with_context(Complaints::default())?;
    let mut found = BTreeMap::new();
    let is_pattern = |it: &&Selection| matches!(it, Selection::Pattern(_));
    if selections.iter().any(|it| is_pattern(&it)) {
        let all = metadata(&asking, None)?;
        let patterns = || selections.iter().filter(is_pattern);
        for topic in all.topics() {
            if patterns().any(|it| it.selects(&connection.name, topic.name())) {
                found.insert(topic.name().to_owned(), presence(topic));
            }
        }
    }
    for selection in selections {
        let Selection::Named(name) = selection else {
            continue;
        };
        if found.contains_key(name) {
            continue;
        }
        let metadata = metadata(&asking, Some(name))?;
        let answer = metadata
            .topics()
            .first()
            .map_or(Presence::Missing, presence);
        found.insert(name.clone(), answer);
    }
    Ok(found)
}

fn metadata(asking: &Asking, topic: Option<&str>) -> Result<Metadata, Failure> {
    asking.context().metadata(
        |wait| asking.fetch_metadata(topic, wait),
        || while asking.poll(MOMENT).is_some() {},
    )
}

fn presence(topic: &MetadataTopic) -> Presence {
    let name = topic.name();
    let act = || format!("read topic {name}");
    if !is_nameable(name) {
        return Presence::Unclear(rejected(act(), "its name is too long for a topic of ours"));
    }
    match topic.error().map(Code::from) {
        None => Presence::There(u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX)),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Presence::Missing,
        Some(code) => Presence::Unclear(classify(act(), KafkaError::MetadataFetch(code))),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    async fn found(
        mock: &MockCluster<'_, impl rdkafka::ClientContext>,
        texts: &[&str],
    ) -> Vec<String> {
        let connection = Connection {
            name: "plant".to_owned(),
            bootstrap_servers: mock.bootstrap_servers(),
            properties: BTreeMap::new(),
        };
        let selections = texts.iter().map(|text| text.parse().unwrap()).collect();
        let found = discover(Arc::new(connection), selections).await.unwrap();
        let found = found.into_iter();
        found
            .map(|(topic, presence)| format!("{topic}: {presence:?}"))
            .collect()
    }

    #[tokio::test]
    async fn patterns_find_what_there_is_and_names_what_there_is_not() {
        let mock = MockCluster::new(1).unwrap();
        for (topic, partitions) in [
            ("orders-eu", 2),
            ("orders-us", 1),
            ("stock", 3),
            ("__orders", 1),
        ] {
            mock.create_topic(topic, partitions, 1).unwrap();
        }
        let long = format!("orders-{}", "x".repeat(200));
        mock.create_topic(&long, 1, 1).unwrap();
        let found = found(&mock, &["^orders-", "stock", "^.*-us$"]).await;
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], "orders-eu: There(2)");
        assert_eq!(found[1], "orders-us: There(1)");
        assert!(
            found[2].contains("too long for a topic of ours"),
            "{}",
            found[2]
        );
        assert_eq!(found[3], "stock: There(3)");
    }

    #[tokio::test]
    async fn a_failing_topic_does_not_hide_the_others() {
        let mock = MockCluster::new(1).unwrap();
        for topic in ["allowed", "forbidden"] {
            mock.create_topic(topic, 1, 1).unwrap();
        }
        let forbid = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        mock.topic_error("forbidden", forbid).unwrap();
        let missing = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        mock.create_topic("nowhere", 1, 1).unwrap();
        mock.topic_error("nowhere", missing).unwrap();
        let found = found(&mock, &["allowed", "forbidden", "nowhere"]).await;
        assert_eq!(found[0], "allowed: There(1)");
        assert!(found[1].contains("Rejected"), "{}", found[1]);
        assert_eq!(found[2], "nowhere: Missing");
    }
}
