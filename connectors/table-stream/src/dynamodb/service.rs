//! What is used of the DynamoDB Streams API (version 2012-08-10), and what its failures mean.

use async_trait::async_trait;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType, StreamStatus};
use aws_sdk_dynamodbstreams::{Client, Config};
use connector::SourceError;

use super::DynamoDbConfig;
use super::lineage::Shard;
use super::position::Reached;
use crate::failure::{rejected, unavailable};

/// The API.
#[async_trait]
pub(super) trait Service: std::fmt::Debug + Send + Sync {
    /// The ARN of the table's newest stream, on or off; `None` when it never had one.
    async fn newest_stream(&self, table: &str) -> Result<Option<String>, Failure>;

    /// All shards of a stream.
    async fn describe(&self, stream: &str) -> Result<Described, Failure>;

    /// Where reading a shard goes on. It is good for 15 minutes.
    async fn iterator(&self, stream: &str, shard: &str, from: &Reached) -> Result<String, Failure>;

    /// The next records, at most 1,000 and a mebibyte.
    async fn records(&self, iterator: &str) -> Result<Page, Failure>;
}

/// A stream as it describes itself.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) shards: Vec<Shard>,
    pub(super) switched: Switched,
}

/// Whether a stream still gets changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switched {
    On,
    Off,
}

/// Some records of a shard.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// Where to go on; `None` at the shard's end.
    pub(super) next: Option<String>,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The iterator is too old: another one leads on.
    Expired,
    /// What was asked for was dropped.
    Trimmed,
    /// There is no such stream, shard or table any more.
    Gone(SourceError),
    Other(SourceError),
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        let text = match failure {
            Failure::Gone(error) | Failure::Other(error) => return error,
            Failure::Expired => "a shard's iterator has expired",
            Failure::Trimmed => "the stream has dropped what was not read",
        };
        unavailable("read the stream", text)
    }
}

/// AWS's service, or one that speaks like it.
pub(super) struct Remote(Client);

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl Remote {
    pub(super) fn new(config: &DynamoDbConfig) -> Self {
        let keys = &config.keys;
        let (id, secret) = (&keys.access_key_id, &keys.secret_access_key);
        let http = aws_smithy_http_client::Builder::new();
        let http = http.tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ));
        let mut settings = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(Credentials::new(id, secret, None, None, "connector"))
            .http_client(http.build_https());
        if let Some(endpoint) = &config.endpoint {
            settings = settings.endpoint_url(endpoint.trim_end_matches('/'));
        }
        Self(Client::from_conf(settings.build()))
    }
}

#[async_trait]
impl Service for Remote {
    async fn newest_stream(&self, table: &str) -> Result<Option<String>, Failure> {
        let mut newest: Option<(String, String)> = None;
        let mut after = None;
        loop {
            let page = self.0.list_streams().table_name(table);
            let page = page.set_exclusive_start_stream_arn(after).send().await;
            let page = page.map_err(failure("list the table's streams"))?;
            for stream in page.streams() {
                // The label is the time at which the stream was made, in ISO 8601.
                if let (Some(label), Some(arn)) = (stream.stream_label(), stream.stream_arn()) {
                    newest = newest.max(Some((label.to_owned(), arn.to_owned())));
                }
            }
            after = page.last_evaluated_stream_arn;
            if after.is_none() {
                return Ok(newest.map(|(_, arn)| arn));
            }
        }
    }

    async fn describe(&self, stream: &str) -> Result<Described, Failure> {
        let (mut shards, mut after) = (Vec::new(), None);
        loop {
            let page = self.0.describe_stream().stream_arn(stream);
            let page = page.set_exclusive_start_shard_id(after).send().await;
            let page = page.map_err(failure("describe the stream"))?;
            let Some(described) = page.stream_description else {
                let error = unavailable("describe the stream", "the answer has no description");
                return Err(Failure::Other(error));
            };
            shards.extend(described.shards().iter().filter_map(|shard| {
                let range = shard.sequence_number_range();
                Some(Shard {
                    id: shard.shard_id()?.to_owned(),
                    parent: shard.parent_shard_id().map(str::to_owned),
                    begins: range
                        .and_then(|range| range.starting_sequence_number())
                        .map(str::to_owned),
                })
            }));
            after = described.last_evaluated_shard_id;
            if after.is_none() {
                let switched = match described.stream_status {
                    Some(StreamStatus::Disabled | StreamStatus::Disabling) => Switched::Off,
                    _ => Switched::On,
                };
                return Ok(Described { shards, switched });
            }
        }
    }

    async fn iterator(&self, stream: &str, shard: &str, from: &Reached) -> Result<String, Failure> {
        let (kind, number) = match from {
            Reached::Horizon | Reached::End => (ShardIteratorType::TrimHorizon, None),
            Reached::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number)),
            Reached::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number)),
        };
        let asked = self.0.get_shard_iterator();
        let asked = asked
            .stream_arn(stream)
            .shard_id(shard)
            .shard_iterator_type(kind)
            .set_sequence_number(number.cloned());
        let answer = asked.send().await;
        let answer = answer.map_err(failure("begin to read a shard"))?;
        answer.shard_iterator.ok_or_else(|| {
            let error = unavailable("begin to read a shard", "the answer has no iterator");
            Failure::Other(error)
        })
    }

    async fn records(&self, iterator: &str) -> Result<Page, Failure> {
        let asked = self.0.get_records().shard_iterator(iterator);
        let page = asked.send().await.map_err(failure("read a shard"))?;
        Ok(Page {
            records: page.records.unwrap_or_default(),
            next: page.next_shard_iterator,
        })
    }
}

/// Codes of errors that somebody must see to (Amazon DynamoDB API reference, common errors).
const FINAL: [&str; 8] = [
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClientException",
    "ValidationException",
];

fn failure<E, R>(act: &'static str) -> impl FnOnce(SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    move |error| {
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code);
        let code = code.unwrap_or_default().to_owned();
        let text = DisplayErrorContext(&error).to_string();
        match code.as_str() {
            "ExpiredIteratorException" => Failure::Expired,
            "TrimmedDataAccessException" => Failure::Trimmed,
            "ResourceNotFoundException" => Failure::Gone(unavailable(act, text)),
            code if FINAL.contains(&code) => Failure::Other(rejected(act, text)),
            _ => Failure::Other(unavailable(act, text)),
        }
    }
}
