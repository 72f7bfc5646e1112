//! What an operator may turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use access::Keyring;

/// Settings of the dispatcher. Every field has a default; see [`Settings::default`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account that pays for attempts at functions that are gone.
    pub account: String,
    /// The region that functions are told they run in.
    pub region: String,
    /// Variables that every function's process gets beneath its own: endpoints.
    pub environment: BTreeMap<String, String>,
    /// Where functions' keys come from: each gets its role's. `None` for functions without keys.
    pub keys: Option<Arc<Keyring>>,
    /// Invocations that run at once, over all functions.
    pub account_concurrency: u32,
    /// Of the unreserved concurrency, so much is kept from triggers and asynchronous invocations:
    /// a backlog never starves synchronous calls.
    pub kept_for_synchronous: u32,
    /// Reservations must leave at least this much concurrency unreserved.
    pub minimum_unreserved: u32,
    /// Pauses before the second, third, … attempt at an asynchronous invocation or a bucket
    /// notification. The last one repeats.
    pub async_backoff: Vec<Duration>,
    /// Batches of one partition of one trigger that run or wait for concurrency at once, where the
    /// trigger's ordering allows more than one. A partition of the queue of asynchronous invocations
    /// has four times as many, and half of them at most for any one function.
    pub flights_per_partition: usize,
    /// Bytes of records that one partition of one trigger keeps in memory.
    pub prefetch_bytes: usize,
    /// Bytes of records that all partitions together keep in memory. Each may always keep one small
    /// read beyond it, so that no partition starves another.
    pub prefetch_bytes_total: usize,
    /// How long running invocations are waited for when a trigger or the server stops.
    pub drain: Duration,
}

impl Default for Settings {
    /// Sized for one machine: 64 invocations at once, 16 of them kept for synchronous calls; AWS's
    /// pauses of one and two minutes; 8 MiB per partition and 256 MiB in all; 30 s to drain.
    fn default() -> Self {
        Self {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            environment: BTreeMap::new(),
            keys: None,
            account_concurrency: 64,
            kept_for_synchronous: 16,
            minimum_unreserved: 8,
            async_backoff: vec![Duration::from_secs(60), Duration::from_secs(120)],
            flights_per_partition: 32,
            prefetch_bytes: 8 << 20,
            prefetch_bytes_total: 256 << 20,
            drain: Duration::from_secs(30),
        }
    }
}
