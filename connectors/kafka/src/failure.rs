//! What a failure of librdkafka asks of whoever hears of it.

use connector::SourceError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(crate) fn unavailable(act: String, cause: impl Into<Cause>) -> SourceError {
    SourceError::Unavailable {
        act,
        source: cause.into(),
    }
}

pub(crate) fn rejected(act: String, cause: impl Into<Cause>) -> SourceError {
    SourceError::Rejected {
        act,
        source: cause.into(),
    }
}

/// The class of a failed act.
pub(crate) fn classify(act: String, error: KafkaError) -> SourceError {
    let configuration = matches!(
        error,
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)
    );
    match error.rdkafka_error_code() {
        _ if configuration => rejected(act, error),
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTopic,
        ) => rejected(act, error),
        Some(Code::ThrottlingQuotaExceeded) => SourceError::Throttled { act, wait: None },
        // Foreign and open-ended: leaders move, brokers restart, topics are created later.
        _ => unavailable(act, error),
    }
}
