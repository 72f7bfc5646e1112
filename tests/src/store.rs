//! A real S3-compatible store that is not ours.

use anyhow::{Context, Result};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};

/// A bucket of its own on the store that `cargo xtask` started.
#[derive(Debug)]
pub struct ForeignStore {
    endpoint: String,
    bucket: String,
    keys: (String, String),
}

impl ForeignStore {
    /// Makes a bucket, if there is such a store.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn find() -> Result<Option<Self>> {
        let variable = |name: &str| std::env::var(format!("TIDEMILL_TEST_S3{name}")).ok();
        let (Some(endpoint), Some(id), Some(secret)) = (
            variable(""),
            variable("_ACCESS_KEY"),
            variable("_SECRET_KEY"),
        ) else {
            return Ok(None);
        };
        let store = Self {
            endpoint,
            bucket: format!("nodes-{}", uuid::Uuid::new_v4()),
            keys: (id, secret),
        };
        let made = store.client().create_bucket().bucket(&store.bucket);
        made.send().await.context("make a bucket on the store")?;
        Ok(Some(store))
    }

    /// The AWS SDK pointed at it.
    #[must_use]
    pub fn client(&self) -> aws_sdk_s3::Client {
        client(&self.endpoint, self.keys.clone(), RetryConfig::standard())
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The store's address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its credentials as an AWS shared-credentials file.
    #[must_use]
    pub fn credentials(&self) -> String {
        let (id, secret) = &self.keys;
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
    }

    /// The settings of a server that uses it, with its credentials in `file`.
    #[must_use]
    pub fn settings(&self, file: &std::path::Path) -> String {
        format!(
            "[store]\nkind = \"s3\"\n[store.s3]\nendpoint = {:?}\nbucket = {:?}\ncredentials = {file:?}\n",
            self.endpoint, self.bucket
        )
    }
}

/// The AWS SDK pointed at a store that is not ours.
#[must_use]
pub fn s3_at(endpoint: &str, id: &str, secret: &str) -> aws_sdk_s3::Client {
    let keys = (id.to_owned(), secret.to_owned());
    client(endpoint, keys, RetryConfig::standard())
}

pub(crate) fn client(
    endpoint: &str,
    (id, secret): (String, String),
    retries: RetryConfig,
) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(retries)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
