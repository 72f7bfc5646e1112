//! From the log's errors to Kafka's codes.

use event_log::Error;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::meter;

/// Why a part of a request was refused: Kafka's code, and words for the clients that show them.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    code: ResponseError,
    message: String,
    /// Which records of a batch are at fault, by their index in it.
    records: Vec<i32>,
}

impl Refusal {
    /// A refusal, counted.
    pub(crate) fn new(code: ResponseError, message: impl Into<String>) -> Self {
        meter::refused(code);
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }

    /// The same refusal, for the sake of these records of a batch.
    pub(crate) fn for_records(self, records: Vec<i32>) -> Self {
        Self { records, ..self }
    }

    /// The records of a batch that are at fault, by their index in it; none for all of them.
    pub(crate) fn records(&self) -> &[i32] {
        &self.records
    }

    /// Kafka's number for it.
    pub(crate) fn code(&self) -> i16 {
        self.code.code()
    }

    /// The words, as the codec takes them.
    pub(crate) fn message(&self) -> StrBytes {
        StrBytes::from_string(self.message.clone())
    }

    /// There is no such topic or partition.
    pub(crate) fn unknown(topic: &str) -> Self {
        Self::new(
            ResponseError::UnknownTopicOrPartition,
            format!("topic {topic} or its partition does not exist"),
        )
    }

    /// The topic is ours.
    pub(crate) fn protected(topic: &str) -> Self {
        Self::new(
            ResponseError::TopicAuthorizationFailed,
            format!("topic {topic} is written by the server only"),
        )
    }

    /// The same for a client that was told of newer lives of a transactional id only from version
    /// `from` on; an older one is told of its epoch.
    pub(crate) fn fenced_since(self, from: i16, version: i16) -> Self {
        match self.code {
            ResponseError::ProducerFenced if version < from => Self {
                code: ResponseError::InvalidProducerEpoch,
                ..self
            },
            _ => self,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::InvalidTopicName { .. } => ResponseError::InvalidTopicException,
            Error::UnknownTopic { .. } | Error::UnknownPartition { .. } => {
                ResponseError::UnknownTopicOrPartition
            }
            Error::TopicExists { .. } => ResponseError::TopicAlreadyExists,
            Error::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            Error::InvalidBatch { .. } => ResponseError::InvalidRecord,
            Error::TooLarge { .. } => ResponseError::MessageTooLarge,
            Error::InvalidSettlement { .. } => ResponseError::InvalidRequest,
            Error::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            Error::ProducerFenced { .. } => ResponseError::InvalidProducerEpoch,
            Error::StaleProducer { .. } => ResponseError::ProducerFenced,
            Error::UnknownProducer { .. } => ResponseError::InvalidProducerIdMapping,
            Error::InvalidTransaction { .. } => ResponseError::InvalidTxnState,
            // Clients retry on a storage error and pass a corrupt message on to their user.
            Error::Full { .. } | Error::Io { .. } | Error::Unavailable { .. } | Error::Closed => {
                ResponseError::KafkaStorageError
            }
            Error::Corrupt { .. } => ResponseError::CorruptMessage,
            Error::Fenced { .. } | Error::CheckpointConflict { .. } => {
                ResponseError::UnknownServerError
            }
            // The enum is open; what has no name here is ours to look at.
            _ => ResponseError::UnknownServerError,
        };
        if matches!(
            code,
            ResponseError::KafkaStorageError
                | ResponseError::CorruptMessage
                | ResponseError::UnknownServerError
        ) {
            tracing::error!(error = &error as &dyn std::error::Error, "the log failed");
        }
        Self::new(code, error.to_string())
    }
}
