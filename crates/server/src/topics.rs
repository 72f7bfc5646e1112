//! Whole topics, read by a client.

use std::collections::BTreeMap;

use anyhow::bail;
use bytes::Bytes;
use http::{Method, StatusCode};

use crate::admin::{self, TopicLine};
use crate::client::Client;

/// Every record of a topic as it stands, partition by partition; none when there is no such topic
/// yet.
///
/// # Errors
/// The server cannot be reached or refuses.
pub(crate) async fn read(client: &Client, topic: &str) -> anyhow::Result<Vec<TopicLine>> {
    let path = format!("/_tidemill/topics/{topic}/records");
    let (status, body) = client
        .send(admin::SERVICE, Method::GET, &path, Bytes::new())
        .await?;
    if status == StatusCode::NOT_FOUND {
        return Ok(Vec::new());
    }
    if !status.is_success() {
        bail!(
            "read {topic}: {status}: {}",
            String::from_utf8_lossy(&body).trim()
        );
    }
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

/// The first offset that each partition of a topic still holds; none when there is no such topic.
///
/// # Errors
/// The server cannot be reached or refuses.
pub(crate) async fn kept_from(client: &Client, topic: &str) -> anyhow::Result<BTreeMap<u32, u64>> {
    let path = format!("/_tidemill/topics/{topic}/bounds");
    let (status, body) = client
        .send(admin::SERVICE, Method::GET, &path, Bytes::new())
        .await?;
    if status == StatusCode::NOT_FOUND {
        return Ok(BTreeMap::new());
    }
    if !status.is_success() {
        bail!("find the bounds of {topic}: {status}");
    }
    let bounds: BTreeMap<u32, (u64, u64)> = serde_json::from_slice(&body)?;
    Ok(bounds
        .into_iter()
        .map(|(partition, (first, _))| (partition, first))
        .collect())
}
