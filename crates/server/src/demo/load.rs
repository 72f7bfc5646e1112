//! Drops files and publishes records.

use std::time::Duration;

use anyhow::Context;
use http::Method;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::deploy::INBOX;
use super::sources::{Sources, Topic};
use crate::client::Client;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Records in flight to the producer at once.
const WAVE: usize = 1_000;

/// Puts every CSV file of the examples' data into the bucket; returns how many.
///
/// # Errors
/// A file cannot be read, or the server refuses it.
pub(crate) async fn put_files(client: &Client, sources: &Sources) -> anyhow::Result<usize> {
    let files = sources.csv_files()?;
    for file in &files {
        let content = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("the name of {}", file.display()))?;
        client
            .demand(
                "s3",
                Method::PUT,
                &format!("/{INBOX}/{name}"),
                content.into(),
            )
            .await?;
    }
    Ok(files.len())
}

/// Publishes `count` records to a topic, going round its data as often as needed; returns how many
/// were acknowledged, which is all of them.
///
/// # Errors
/// The data cannot be read, or a record is not acknowledged.
pub(crate) async fn publish(
    bootstrap: &str,
    sources: &Sources,
    topic: Topic,
    count: usize,
) -> anyhow::Result<usize> {
    let records = sources.records(topic)?;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()
        .context("make a Kafka producer")?;
    let wanted: Vec<_> = records.iter().cycle().take(count).collect();
    for wave in wanted.chunks(WAVE) {
        let sends = wave.iter().map(|(key, value)| {
            producer.send(
                FutureRecord::to(topic.name).key(key).payload(value),
                TIMEOUT,
            )
        });
        for sent in futures::future::join_all(sends).await {
            sent.map_err(|(error, _)| error)
                .with_context(|| format!("publish to {}", topic.name))?;
        }
    }
    Ok(wanted.len())
}
