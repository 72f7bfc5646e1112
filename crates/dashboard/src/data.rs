//! What the page shows.

use clock::Timestamp;
use serde::Serialize;

/// Where the page's numbers come from. Implemented by the server.
pub trait Snapshot: Send + Sync + 'static {
    /// The state now. Called every 2 seconds for each open page: it should cost milliseconds.
    fn snapshot(&self) -> impl Future<Output = DashboardData> + Send;
}

/// One look at the server. In JSON: field names as here, times in milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DashboardData {
    /// The server's version.
    pub version: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// When this was looked up.
    pub now: Timestamp,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// Every function, by name.
    pub functions: Vec<FunctionRow>,
    /// Every trigger, by function.
    pub triggers: Vec<TriggerRow>,
    /// Every connector, by name.
    pub connectors: Vec<ConnectorRow>,
    /// The last invocations, newest first; a few dozen.
    pub invocations: Vec<InvocationRow>,
    /// The bill so far.
    pub billing: BillingTotals,
    /// The log.
    pub log: LogSize,
}

/// A function, what runs of it, and what it has used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FunctionRow {
    /// Its name.
    pub name: String,
    /// Its runtime, in AWS's words.
    pub runtime: String,
    /// Configured memory, MiB.
    pub memory_mib: u32,
    /// The longest invocation, seconds.
    pub timeout_seconds: u32,
    /// Instances that are running an invocation.
    pub instances_busy: u64,
    /// Instances that are kept warm.
    pub instances_idle: u64,
    /// Charged attempts.
    pub invocations: u64,
    /// Of these, how many did not succeed.
    pub failed: u64,
    /// Milliseconds charged.
    pub billed_ms: u64,
}

/// A trigger: how far it is and what became of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TriggerRow {
    /// Its identity.
    pub id: String,
    /// The function it runs.
    pub function: String,
    /// What it reads, for example `topic orders`.
    pub source: String,
    /// Its state, in AWS's words: `Enabled`, `Disabled`.
    pub state: String,
    /// Events in the log that it has not finished.
    pub lag: u64,
    /// What became of its events.
    pub tallies: Tallies,
}

/// A connector: what it reads elsewhere, and how it fares on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectorRow {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub reads: String,
    /// Its state, as `tidemill connector status` says it.
    pub state: String,
    /// Events that wait at its sources, where they know.
    pub lag: Option<u64>,
    /// How old the newest event was when it came, milliseconds; of the source where it was oldest.
    pub delay_ms: Option<u64>,
    /// What went wrong last, since it was started.
    pub last_error: Option<String>,
}

/// Events of a trigger by what became of them. Received is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tallies {
    /// All that were taken up.
    pub received: u64,
    /// The function succeeded.
    pub succeeded: u64,
    /// No filter matched.
    pub filtered: u64,
    /// Sent to the failure destination.
    pub failed: u64,
    /// Too old.
    pub expired: u64,
    /// Being worked on.
    pub in_flight: u64,
}

/// One finished attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InvocationRow {
    /// When it ended.
    pub ended_at: Timestamp,
    /// The function.
    pub function: String,
    /// How it ended, as in a usage record: `success`, `error`, `timeout`, …
    pub outcome: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Events in its batch.
    pub records: u32,
    /// Time of running, microseconds.
    pub duration_us: u64,
    /// Time of initialisation, microseconds; 0 when warm.
    pub init_us: u64,
    /// Milliseconds charged.
    pub billed_ms: u64,
}

/// The bill so far, over everything in the billing topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BillingTotals {
    /// The price sheet's name.
    pub price_sheet: String,
    /// The currency, ISO 4217.
    pub currency: String,
    /// Request units charged.
    pub requests: u64,
    /// GB-seconds charged, decimal.
    pub gb_seconds: String,
    /// The amount, decimal.
    pub total: String,
    /// Usage records that are not billed yet.
    pub unbilled: u64,
}

/// How large the log is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogSize {
    /// Bytes on disk.
    pub bytes: u64,
    /// Every topic, by name.
    pub topics: Vec<TopicRow>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TopicRow {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: u32,
    /// Records that can be read, all partitions together.
    pub records: u64,
}
