//! How a bucket's hints come: its store's notifications, by one way of several.

use anyhow::{Context, anyhow, bail};
use connector_object_store::{
    Hint, QueuePlace, QueueUrl, S3Place, hint_queue, listen_hints, queue_hints,
};
use event_log::TopicName;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::S3;
use crate::config::Secret;
use crate::connectors::ConnectorName;
use crate::connectors::hints::Listener;
use crate::connectors::kind::Surroundings;
use crate::connectors::kind::buckets::below;
use crate::connectors::topic_hints::topic_hints;

/// By which way the store's notifications come.
#[derive(Debug)]
pub(super) enum Notified<'a> {
    /// By none: the listing finds everything.
    Not,
    /// The store posts them, with this token.
    Posted(&'a Secret),
    /// They are published to a topic here.
    Topic(TopicName),
    /// The store sends them to a queue.
    Queue(QueueUrl),
    /// The store writes them on a connection of ours.
    Listening,
}

impl S3 {
    /// The way that was chosen.
    ///
    /// # Errors
    /// It cannot be meant, or there are several.
    pub(super) fn notified(&self) -> anyhow::Result<Notified<'_>> {
        let mut ways = Vec::new();
        if let Some(token) = &self.notification_token {
            ways.push(("notification_token", Notified::Posted(token)));
        }
        if let Some(topic) = &self.notification_topic {
            let topic = TopicName::new(topic).context("notification_topic")?;
            ways.push(("notification_topic", Notified::Topic(topic)));
        }
        if let Some(url) = &self.notification_queue {
            let url: QueueUrl = url
                .parse()
                .map_err(|why| anyhow!("notification_queue: {why}"))?;
            if let Some(region) = url.region().filter(|region| *region != self.region) {
                bail!(
                    "notification_queue is in region {region:?} and the bucket in {:?}: a bucket notifies queues of its own region, so set region, too",
                    self.region
                );
            }
            ways.push(("notification_queue", Notified::Queue(url)));
        }
        if self.notification_listen {
            ways.push(("notification_listen", Notified::Listening));
        }
        let names: Vec<&str> = ways.iter().map(|(name, _)| *name).collect();
        match ways.len() {
            0 | 1 => Ok(ways.pop().map_or(Notified::Not, |(_, way)| way)),
            _ => bail!(
                "notifications come by one way: choose of {}",
                names.join(", ")
            ),
        }
    }

    /// The hints that come by it; none where nothing was chosen. The token is read here.
    pub(super) fn hints(
        &self,
        place: S3Place,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> anyhow::Result<Option<BoxStream<'static, Hint>>> {
        let bucket = self.bucket.clone();
        let hints = match self.notified()? {
            Notified::Not => return Ok(None),
            // They are counted where they come in.
            Notified::Posted(token) => return self.posted(token, name, around).map(Some),
            Notified::Topic(topic) => topic_hints(around.log.clone(), topic, bucket),
            Notified::Queue(url) => {
                let what = format!("queue {url}");
                let place = QueuePlace {
                    url,
                    region: place.region,
                    access_key_id: place.access_key_id,
                    secret_access_key: place.secret_access_key,
                };
                let (hints, channel) = queue_hints(place, bucket, around.clock.clone());
                around.hints.come_by(name, what, channel);
                hints
            }
            Notified::Listening => {
                let prefix = self.prefix.as_deref().and_then(below);
                let (hints, channel) =
                    listen_hints(place, prefix.as_deref(), around.clock.clone())?;
                around
                    .hints
                    .come_by(name, "a connection to the store".to_owned(), channel);
                hints
            }
        };
        let counter =
            metrics::counter!("tidemill_connector_hints_total", "connector" => name.to_string());
        Ok(Some(hints.inspect(move |_| counter.increment(1)).boxed()))
    }

    fn posted(
        &self,
        token: &Secret,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> anyhow::Result<BoxStream<'static, Hint>> {
        let token = token.read().context("notification_token")?;
        if token.is_empty() {
            bail!("notification_token is empty");
        }
        let (hints, taken) = hint_queue();
        let listener = Listener {
            bucket: self.bucket.clone(),
            token,
            hints,
        };
        around.hints.listen(name, listener);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::kind::Kind as _;

    fn refusal(more: &str) -> Option<String> {
        let settings: S3 = toml::from_str(&format!("bucket = 'incoming'\n{more}")).unwrap();
        let refused = settings.check().err();
        refused.map(|error| format!("{error:#}"))
    }

    #[test]
    fn notifications_come_by_one_way_and_one_that_can_be_meant() {
        let queue = "notification_queue = 'https://sqs.us-east-1.amazonaws.com/1/told'";
        let (topic, listen) = ("notification_topic = 'told'", "notification_listen = true");
        let token = "notification_token = 'env:TOKEN'";
        for way in [queue, topic, listen, token, "notification_listen = false"] {
            assert_eq!(refusal(way), None);
        }
        for (ways, named) in [
            (
                format!("{queue}\n{listen}"),
                "notification_queue, notification_listen",
            ),
            (
                format!("{token}\n{topic}"),
                "notification_token, notification_topic",
            ),
            (
                format!("{queue}\nregion = 'eu-west-1'"),
                "notification_queue",
            ),
            (
                "notification_queue = 'told'".to_owned(),
                "notification_queue",
            ),
            (
                "notification_queue = 'https://ada:hush@sqs.example.org/1/told'".to_owned(),
                "notification_queue",
            ),
            (
                "notification_topic = 'a b'".to_owned(),
                "notification_topic",
            ),
        ] {
            let refused = refusal(&ways).unwrap();
            assert!(
                refused.contains(named) && !refused.contains("hush"),
                "{refused}"
            );
        }
    }
}
