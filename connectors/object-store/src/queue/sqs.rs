//! The API of Amazon SQS (version 2012-11-05, its JSON protocol).

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use aws_sdk_sqs::{Client, Config};
use connector::SourceError;

use super::{Message, Queue, QueueUrl};

/// The most messages that one answer may have, and one deletion ("ReceiveMessage", Amazon SQS API
/// reference, 2026).
const MESSAGES: i32 = 10;

/// The most seconds that a request may wait for messages (the same).
const WAIT: i32 = 20;

/// How long a request is waited for.
const PATIENCE: Duration = Duration::from_secs(40);

/// A queue, and who reads it. The rights `sqs:ReceiveMessage` and `sqs:DeleteMessage` are needed.
#[derive(Clone)]
pub struct QueuePlace {
    /// Its address.
    pub url: QueueUrl,
    /// Its region.
    pub region: String,
    /// The public half of the keys.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
}

/// Without the secret.
impl std::fmt::Debug for QueuePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueuePlace")
            .field("url", &self.url)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

pub(super) struct Sqs {
    client: Client,
    url: String,
}

impl Sqs {
    pub(super) fn new(place: QueuePlace) -> Self {
        let (id, secret) = (place.access_key_id, place.secret_access_key);
        let http = aws_smithy_http_client::Builder::new();
        let http = http.tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ));
        let patience = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE);
        let settings = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(place.url.endpoint())
            .region(Region::new(place.region))
            .credentials_provider(Credentials::new(id, secret, None, None, "connector"))
            // Whoever asks asks again, and counts the failures.
            .retry_config(RetryConfig::disabled())
            .timeout_config(patience.build())
            .http_client(http.build_https());
        Self {
            client: Client::from_conf(settings.build()),
            url: place.url.as_str().to_owned(),
        }
    }
}

#[async_trait]
impl Queue for Sqs {
    async fn receive(&self) -> Result<Vec<Message>, SourceError> {
        let asked = self.client.receive_message().queue_url(&self.url);
        let asked = asked
            .max_number_of_messages(MESSAGES)
            .wait_time_seconds(WAIT);
        let answer = asked.send().await.map_err(failure("receive messages"))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        let message = |message: aws_sdk_sqs::types::Message| {
            Some(Message {
                receipt: message.receipt_handle?,
                body: message.body.unwrap_or_default(),
            })
        };
        Ok(messages.filter_map(message).collect())
    }

    async fn delete(&self, receipts: Vec<String>) -> Result<(), SourceError> {
        let act = "delete messages";
        let entry = |(number, receipt): (usize, String)| {
            let entry = DeleteMessageBatchRequestEntry::builder();
            entry.id(number.to_string()).receipt_handle(receipt).build()
        };
        let entries = receipts.into_iter().enumerate().map(entry);
        let entries: Result<Vec<_>, BuildError> = entries.collect();
        let entries = entries.map_err(|error| unavailable(act, error.to_string()))?;
        let asked = self.client.delete_message_batch().queue_url(&self.url);
        let answer = asked.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(failure(act))?;
        match answer.failed().first() {
            Some(failed) => Err(unavailable(act, failed.code().to_owned())),
            None => Ok(()),
        }
    }
}

/// What the service says, or else what is in its way.
fn failure<E, R>(act: &'static str) -> impl FnOnce(SdkError<E, R>) -> SourceError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    move |error| {
        let said = error.as_service_error().map(ProvideErrorMetadata::meta);
        let said = said.and_then(|said| Some((said.code()?, said.message().unwrap_or_default())));
        let why = match said {
            Some((code, message)) => format!("{code}: {message}"),
            None => DisplayErrorContext(&error).to_string(),
        };
        unavailable(act, why)
    }
}

fn unavailable(act: &str, why: String) -> SourceError {
    SourceError::Unavailable {
        act: act.to_owned(),
        source: why.into(),
    }
}
