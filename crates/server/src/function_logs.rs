//! Carries what functions print into the topic `tidemill.logs`.
//!
//! One record per chunk of lines, keyed by the function's name so that one function's lines stay in
//! one partition and in order. Lines wait a moment for others, so that they take few of the disk's syncs
//! from the invocations that they are about, whose usage is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use event::Record;
use event_log::{
    Append, Lifetime, RecordBatch, Settlement, SharedLog, Topic, TopicConfig, TopicName,
};
use instance::{LogChunk, LogKind, LogReceiver};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The topic of function logs.
pub(crate) const TOPIC: &str = "tidemill.logs";
/// What functions may have printed that is not written yet.
pub(crate) const QUEUE_BYTES: usize = 16 << 20;
/// How long lines wait for others at most.
const LINGER: Duration = Duration::from_millis(20);
/// Bytes of one append at most, so that a flood does not hold up others' settlements.
const APPEND_BYTES: usize = 1 << 20;

/// Lines of one function, as the topic holds them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Lines {
    /// The function's name.
    pub(crate) function: String,
    /// The version that printed them.
    pub(crate) version: String,
    /// The instance's log stream.
    pub(crate) stream: String,
    /// The invocation, none during initialisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// `function` or `platform`.
    pub(crate) kind: String,
    /// The lines, each ended by a line feed; bytes that are no UTF-8 are replaced.
    pub(crate) text: String,
}

/// Moves chunks from the queue to the topic.
pub(crate) struct FunctionLogs {
    log: SharedLog,
    topic: Topic,
    queue: LogReceiver,
}

impl FunctionLogs {
    /// Opens the topic.
    ///
    /// # Errors
    /// Those of the log.
    pub(crate) async fn open(
        log: SharedLog,
        queue: LogReceiver,
        partitions: u32,
    ) -> Result<Self, event_log::Error> {
        let config = TopicConfig::new(partitions, Lifetime::Events);
        let topic = log.ensure_topic(&TopicName::new(TOPIC)?, config).await?;
        Ok(Self { log, topic, queue })
    }

    /// Runs until `stop`, then writes what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let chunk = tokio::select! {
                chunk = self.queue.next() => chunk,
                () = stop.cancelled() => self.queue.try_next(),
            };
            let Some(chunk) = chunk else { return };
            let linger = tokio::time::sleep_until(Instant::now() + LINGER);
            tokio::select! {
                () = linger => {}
                () = self.queue.crowded() => {}
                () = stop.cancelled() => {}
            }
            self.append(chunk).await;
        }
    }

    async fn append(&mut self, first: LogChunk) {
        let mut batches: BTreeMap<_, Vec<Record>> = BTreeMap::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(chunk) = next {
            bytes += chunk.text.len();
            let partition = self.topic.partition_for(chunk.function.as_bytes());
            batches.entry(partition).or_default().push(record(&chunk));
            next = (bytes < APPEND_BYTES)
                .then(|| self.queue.try_next())
                .flatten();
        }
        let appends = batches
            .into_iter()
            .filter_map(|(to, records)| RecordBatch::of(&records).map(|batch| Append { to, batch }))
            .collect();
        let settlement = Settlement {
            appends,
            ..Settlement::default()
        };
        if let Err(error) = self.log.commit(settlement).await {
            metrics::counter!("tidemill_log_lines_lost_bytes_total").increment(bytes as u64);
            tracing::warn!(bytes, error = %error, "function log lines are lost");
        }
    }
}

fn record(chunk: &LogChunk) -> Record {
    let lines = Lines {
        function: chunk.function.to_string(),
        version: chunk.version.to_string(),
        stream: chunk.stream.to_string(),
        request_id: chunk.request_id.as_ref().map(ToString::to_string),
        kind: match chunk.kind {
            LogKind::Function => "function",
            LogKind::Platform => "platform",
        }
        .to_owned(),
        text: String::from_utf8_lossy(&chunk.text).into_owned(),
    };
    let value = serde_json::to_vec(&lines).expect("lines are plain data");
    Record::new(value, chunk.time).with_key(chunk.function.to_string())
}
