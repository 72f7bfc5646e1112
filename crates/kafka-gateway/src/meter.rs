//! What is counted.
//!
//! What every request counts is looked up once: a look-up takes longer than the counting.

use std::collections::HashMap;
use std::sync::LazyLock;

use event_log::Outcome;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use metrics::Counter;

use crate::apis;

static REQUESTS: LazyLock<HashMap<i16, Counter>> = LazyLock::new(|| {
    let counter =
        |api| metrics::counter!("tidemill_kafka_requests_total", "api" => format!("{api:?}"));
    let served = apis::SERVED.iter().map(|served| served.api);
    served.map(|api| (api as i16, counter(api))).collect()
});
static RECEIVED: LazyLock<Counter> =
    LazyLock::new(|| metrics::counter!("tidemill_kafka_received_bytes_total"));
static SENT: LazyLock<Counter> =
    LazyLock::new(|| metrics::counter!("tidemill_kafka_sent_bytes_total"));

/// Counts a request as it starts.
pub(crate) fn request(api: ApiKey) {
    if let Some(requests) = REQUESTS.get(&(api as i16)) {
        requests.increment(1);
    }
}

/// Counts bytes that came in.
pub(crate) fn received(bytes: usize) {
    RECEIVED.increment(bytes as u64);
}

/// Counts bytes that went out.
pub(crate) fn sent(bytes: usize) {
    SENT.increment(bytes as u64);
}

/// Says how many connections are open.
pub(crate) fn connections(open: usize) {
    metrics::gauge!("tidemill_kafka_connections").set(open as f64);
}

/// Counts a transaction that has ended.
pub(crate) fn transaction(outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Commit => "committed",
        Outcome::Abort => "aborted",
    };
    metrics::counter!("tidemill_kafka_transactions_total", "outcome" => outcome).increment(1);
}

/// Counts an error that a client was told.
pub(crate) fn refused(code: ResponseError) {
    metrics::counter!("tidemill_kafka_errors_total", "error" => code.to_string()).increment(1);
}

/// Counts a connection that was closed for what it sent or did not take.
pub(crate) fn closed(reason: &'static str) {
    metrics::counter!("tidemill_kafka_errors_total", "error" => reason).increment(1);
}
