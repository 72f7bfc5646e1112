//! What is counted.

use event_log::Outcome;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

/// Counts a request as it starts.
pub(crate) fn request(api: ApiKey) {
    metrics::counter!("tidemill_kafka_requests_total", "api" => format!("{api:?}")).increment(1);
}

/// Counts bytes that came in.
pub(crate) fn received(bytes: usize) {
    metrics::counter!("tidemill_kafka_received_bytes_total").increment(bytes as u64);
}

/// Counts bytes that went out.
pub(crate) fn sent(bytes: usize) {
    metrics::counter!("tidemill_kafka_sent_bytes_total").increment(bytes as u64);
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
