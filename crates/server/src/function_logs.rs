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

#[cfg(test)]
mod tests {
    use clock::Timestamp;
    use event_log::MemoryLog;
    use instance::{LogQueue, LogSink as _, Taken, log_queue};
    use tokio::task::JoinHandle;

    use super::*;

    /// Of a queue of this size, two lines that wait beside the first take more than a quarter.
    const SMALL: usize = 4 * 2 * 300;

    struct Bench {
        log: SharedLog,
        queue: LogQueue,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    impl Bench {
        async fn new(limit: usize) -> Self {
            let log: SharedLog = MemoryLog::new();
            let (queue, receiver) = log_queue(limit);
            let logs = FunctionLogs::open(log.clone(), receiver, 1).await.unwrap();
            let stop = CancellationToken::new();
            let task = tokio::spawn(logs.run(stop.clone()));
            Self {
                log,
                queue,
                stop,
                task,
            }
        }

        fn print(&self) {
            let text = format!("{}\n", "x".repeat(99)).into();
            let taken = self.queue.lines(LogChunk {
                account: "000000000000".into(),
                function: "f".into(),
                version: "$LATEST".into(),
                stream: "s".into(),
                request_id: None,
                time: Timestamp::from_millis(0),
                kind: LogKind::Function,
                text,
            });
            assert_eq!(taken, Taken::Yes);
        }

        /// How many chunks are in the topic, after everybody has done what there was to do.
        async fn written(&self) -> u64 {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let topic = self.log.topic(&TopicName::new(TOPIC).unwrap()).unwrap();
            let place = topic.partitions().next().unwrap();
            self.log.bounds(&place).unwrap().end.get()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_wait_for_others_but_not_for_long() {
        let bench = Bench::new(QUEUE_BYTES).await;
        bench.print();
        assert_eq!(bench.written().await, 0);
        tokio::time::advance(LINGER / 2).await;
        bench.print();
        assert_eq!(bench.written().await, 0);
        tokio::time::advance(LINGER / 2).await;
        assert_eq!(bench.written().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_do_not_wait_where_many_are_waiting() {
        let bench = Bench::new(SMALL).await;
        bench.print();
        assert_eq!(bench.written().await, 0);
        bench.print();
        assert_eq!(bench.written().await, 0);
        bench.print();
        assert_eq!(bench.written().await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_what_waits_is_written_at_once() {
        let bench = Bench::new(QUEUE_BYTES).await;
        let began = Instant::now();
        bench.print();
        assert_eq!(bench.written().await, 0);
        bench.stop.cancel();
        assert_eq!(bench.written().await, 1);
        bench.task.await.unwrap();
        assert_eq!(Instant::now(), began);
    }
}
