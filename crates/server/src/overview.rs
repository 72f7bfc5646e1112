//! What the dashboard shows, gathered when somebody looks.
//!
//! Usage and bills are read from where the last look ended, so that a look costs what has happened
//! since, and nobody looking costs nothing.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use clock::{SharedClock, Timestamp};
use dashboard::{
    BillingTotals, ConnectorRow, DashboardData, FunctionRow, InvocationRow, LogSize, Snapshot,
    Tallies, TopicRow, TriggerRow,
};
use event_log::{Offset, Partition, SharedLog, TopicName};
use function::{Registry, Trigger, TriggerSource};
use instance::Pool;
use metering::{BillingRecord, PriceSheet, Totals, UsageRecord};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::connectors::{Door, Report, SourceReport};
use crate::status::{StatusSource, TriggerLine};

/// Invocations that are shown.
const RECENT: usize = 30;
/// How much of a partition is read at once.
const READ_BYTES: usize = 1 << 20;

/// Gathers looks at the server.
pub(crate) struct Overview {
    pub(crate) log: SharedLog,
    /// Where the log's files are; none when they are a cluster's.
    pub(crate) log_dir: Option<PathBuf>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) status: Arc<StatusSource>,
    pub(crate) connectors: Door,
    pub(crate) clock: SharedClock,
    pub(crate) started_at: Timestamp,
    pub(crate) account: String,
    pub(crate) region: String,
    /// What earlier looks have read. Held across reads on purpose: two looks share one pass.
    pub(crate) read: Mutex<Read>,
}

/// Usage and bills as far as they have been read.
#[derive(Default)]
pub(crate) struct Read {
    usage: Follow,
    bills: Follow,
    recent: VecDeque<UsageRecord>,
    used: u64,
    billed: u64,
    totals: Totals,
    by_function: BTreeMap<String, Totals>,
}

/// A way through one topic.
#[derive(Default)]
struct Follow {
    next: BTreeMap<Partition, Offset>,
}

impl Snapshot for Overview {
    async fn snapshot(&self) -> DashboardData {
        let mut read = self.read.lock().await;
        if let Err(error) = read.catch_up(&self.log).await {
            tracing::warn!(%error, "read usage and bills for the dashboard");
        }
        DashboardData {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            now: self.clock.now(),
            account: self.account.clone(),
            region: self.region.clone(),
            functions: self.functions(&read),
            triggers: self.triggers().await,
            connectors: self.connectors(),
            invocations: read.recent.iter().map(invocation).collect(),
            billing: read.bill(),
            log: self.log_size(),
        }
    }
}

impl Overview {
    fn functions(&self, read: &Read) -> Vec<FunctionRow> {
        let instances = self.pool.count_by_function();
        let functions = self.registry.functions();
        let row = |function: &Arc<function::Function>| {
            let name = function.name.as_str();
            let totals = read.by_function.get(name).copied().unwrap_or_default();
            let instances = instances.get(name).copied().unwrap_or_default();
            FunctionRow {
                name: name.to_owned(),
                runtime: match function.image {
                    Some(_) => "image".to_owned(),
                    None => function.runtime.clone(),
                },
                memory_mib: function.memory_mib,
                timeout_seconds: function.timeout_seconds,
                instances_busy: instances.busy as u64,
                instances_idle: instances.idle as u64,
                invocations: totals.invocations.charged(),
                failed: totals.invocations.failed(),
                billed_ms: totals.billed_ms,
            }
        };
        functions.iter().map(row).collect()
    }

    async fn triggers(&self) -> Vec<TriggerRow> {
        let status = match self.status.read().await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(%error, "the overview shows no triggers");
                return Vec::new();
            }
        };
        let known = self.registry.triggers();
        let row = |line: TriggerLine| {
            let of_line = |trigger: &&Arc<Trigger>| trigger.id.to_string() == line.trigger;
            let source = known.iter().find(of_line).map(|trigger| source(trigger));
            TriggerRow {
                source: source.unwrap_or_else(|| "asynchronous invocations".to_owned()),
                state: if line.enabled { "Enabled" } else { "Disabled" }.to_owned(),
                lag: line.lag,
                tallies: Tallies {
                    received: line.ended() + line.in_flight,
                    succeeded: line.succeeded,
                    filtered: line.filtered,
                    failed: line.failed,
                    expired: line.expired,
                    in_flight: line.in_flight,
                },
                id: line.trigger,
                function: line.function.unwrap_or_else(|| "(any)".to_owned()),
            }
        };
        status.triggers.into_iter().map(row).collect()
    }

    fn connectors(&self) -> Vec<ConnectorRow> {
        let row = |report: Report| {
            let lags = report.sources.iter().filter_map(|it| it.lag_events);
            ConnectorRow {
                lag: lags.fold(None, |sum: Option<u64>, lag| Some(sum.unwrap_or(0) + lag)),
                delay_ms: report
                    .sources
                    .iter()
                    .filter_map(SourceReport::delay_ms)
                    .max(),
                name: report.name,
                reads: report.reads,
                state: report.state,
                last_error: report.last_error,
            }
        };
        self.connectors.reports().into_iter().map(row).collect()
    }

    fn log_size(&self) -> LogSize {
        let topics = self.log.topics();
        let topics = topics.iter().map(|topic| TopicRow {
            name: topic.name.to_string(),
            partitions: topic.config.partitions,
            records: topic
                .partitions()
                .filter_map(|partition| self.log.bounds(&partition).ok())
                .map(|bounds| bounds.end.get() - bounds.start.get())
                .sum(),
        });
        LogSize {
            bytes: self.log_dir.as_deref().map(bytes_below).unwrap_or_default(),
            topics: topics.collect(),
        }
    }
}

impl Read {
    async fn catch_up(&mut self, log: &SharedLog) -> Result<(), event_log::Error> {
        for usage in self.usage.new_records(log, UsageRecord::TOPIC).await? {
            self.used += 1;
            self.recent.push_front(usage);
        }
        // Partitions were read one after another.
        let newest_first = |usage: &UsageRecord| std::cmp::Reverse(usage.ended_at);
        self.recent.make_contiguous().sort_by_key(newest_first);
        self.recent.truncate(RECENT);
        let bills: Vec<BillingRecord> = self.bills.new_records(log, BillingRecord::TOPIC).await?;
        for bill in bills {
            let totals = bill.totals();
            self.billed += totals.invocations.charged() + totals.invocations.void;
            self.totals += totals;
            *self.by_function.entry(bill.function).or_default() += totals;
        }
        Ok(())
    }

    fn bill(&self) -> BillingTotals {
        let sheet = PriceSheet::standard();
        BillingTotals {
            price_sheet: sheet.name().to_owned(),
            currency: sheet.currency().to_owned(),
            requests: self.totals.requests,
            gb_seconds: sheet.gb_seconds(&self.totals).round_dp(3).to_string(),
            total: sheet
                .list_cost(&self.totals)
                .total()
                .round_dp(6)
                .to_string(),
            unbilled: self.used.saturating_sub(self.billed),
        }
    }
}

impl Follow {
    /// What the topic has got since the last call. A record that cannot be read is left out.
    async fn new_records<T: DeserializeOwned>(
        &mut self,
        log: &SharedLog,
        topic: &str,
    ) -> Result<Vec<T>, event_log::Error> {
        let mut found = Vec::new();
        let Some(topic) = log.topic(&TopicName::new(topic)?) else {
            return Ok(found);
        };
        for partition in topic.partitions() {
            let bounds = log.bounds(&partition)?;
            let next = self.next.entry(partition.partition).or_default();
            *next = (*next).max(bounds.start);
            while *next < bounds.end {
                let from = *next;
                let chunk = log.read(&partition, from, READ_BYTES).await?;
                *next = chunk.next;
                for batch in chunk.batches {
                    let records = batch.records()?.into_iter();
                    let values = records
                        .filter(|stored| stored.offset >= from)
                        .filter_map(|stored| stored.record.value);
                    found.extend(values.filter_map(|value| serde_json::from_slice(&value).ok()));
                }
                if *next <= from {
                    break;
                }
            }
        }
        Ok(found)
    }
}

fn invocation(usage: &UsageRecord) -> InvocationRow {
    let outcome = serde_json::to_value(usage.outcome).unwrap_or_default();
    InvocationRow {
        ended_at: usage.ended_at,
        function: usage.function.clone(),
        outcome: outcome.as_str().unwrap_or_default().to_owned(),
        attempt: usage.attempt,
        records: usage.records,
        duration_us: usage.duration_us,
        init_us: usage.init_us,
        billed_ms: usage.billed_ms,
    }
}

fn source(trigger: &Trigger) -> String {
    match &trigger.source {
        TriggerSource::Topic { topic, .. } => format!("topic {topic}"),
        TriggerSource::TableStream { topic, .. } => format!("table stream {topic}"),
        TriggerSource::Bucket { bucket, .. } => format!("bucket {bucket}"),
    }
}

/// Bytes of all files in a folder; what cannot be read counts as none.
fn bytes_below(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
