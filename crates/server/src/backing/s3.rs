//! An S3-compatible store that is not ours.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use api::{CodeSource, CodeSourceError};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
    UpdateVersion,
};
use uuid::Uuid;

use crate::config::S3Store;
use crate::credentials::{self, Credentials};

/// How long one request to the store is repeated while the store does not answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens the configured place and makes sure that conditional writes are what they must be.
///
/// # Errors
/// No credentials are to be had; the store cannot be reached or refuses; it ignores conditions.
pub(super) async fn open_s3(store: &S3Store) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let bucket = bucket_of(store).context("set up the client of store.s3")?;
    let documents = PrefixStore::new(bucket, store.prefix.as_str());
    check_conditions(&documents)
        .await
        .with_context(|| format!("use the bucket {:?} at {}", store.bucket, store.address()))?;
    Ok(Arc::new(documents))
}

/// A client of one bucket, not connected yet.
///
/// # Errors
/// No credentials are to be had.
fn bucket_of(store: &S3Store) -> anyhow::Result<AmazonS3> {
    let bucket = builder(store)?.with_bucket_name(&store.bucket);
    Ok(bucket.build()?)
}

/// Code packages that lie in any bucket of the configured store.
#[derive(Debug)]
pub(super) struct S3Code {
    builder: AmazonS3Builder,
}

impl S3Code {
    /// # Errors
    /// No credentials are to be had.
    pub(super) fn new(store: &S3Store) -> anyhow::Result<Self> {
        Ok(Self {
            builder: builder(store).context("set up the client of store.s3")?,
        })
    }
}

#[async_trait]
impl CodeSource for S3Code {
    async fn fetch(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        max_bytes: u64,
    ) -> Result<Bytes, CodeSourceError> {
        let translate = |error: Error| match error {
            Error::NotFound { .. } => CodeSourceError::Refused {
                code: "NoSuchKey".to_owned(),
                message: format!("the store has no {bucket}/{key}"),
            },
            error => CodeSourceError::Unavailable {
                source: Box::new(error),
            },
        };
        let store = self.builder.clone().with_bucket_name(bucket);
        let store = store.build().map_err(translate)?;
        let options = GetOptions {
            version: version.map(str::to_owned),
            ..GetOptions::default()
        };
        let found = store.get_opts(&Key::from(key), options).await;
        let found = found.map_err(translate)?;
        if found.meta.size > max_bytes {
            return Err(CodeSourceError::Refused {
                code: "EntityTooLarge".to_owned(),
                message: format!("{key} has {} bytes, {max_bytes} are taken", found.meta.size),
            });
        }
        found.bytes().await.map_err(translate)
    }
}

fn builder(store: &S3Store) -> anyhow::Result<AmazonS3Builder> {
    let keys = keys_of(store)?;
    let builder = AmazonS3Builder::new()
        .with_region(&store.region)
        .with_access_key_id(keys.access_key_id)
        .with_secret_access_key(keys.secret_access_key)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_allow_http(store.endpoint.starts_with("http://"))
        .with_retry(RetryConfig {
            retry_timeout: PATIENCE,
            ..RetryConfig::default()
        });
    Ok(if store.endpoint.is_empty() {
        builder
    } else {
        builder.with_endpoint(store.endpoint.trim_end_matches('/'))
    })
}

/// The keys that the store is used with, read now.
///
/// # Errors
/// There are none.
pub(crate) fn keys_of(store: &S3Store) -> anyhow::Result<Credentials> {
    credentials_of(&store.credentials)
        .context("find the credentials of the store: name a file with them in `credentials`")
}

/// The credentials in `file`, or those of the environment when it is empty.
///
/// # Errors
/// There are none.
pub(crate) fn credentials_of(file: &Path) -> anyhow::Result<Credentials> {
    if !file.as_os_str().is_empty() {
        return credentials::load(file);
    }
    credentials::from_environment()
        .unwrap_or_else(|| Err(anyhow!("neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor AWS_SHARED_CREDENTIALS_FILE is set")))
}

/// A store that ignores conditions would lose one node's change to another's, and nobody would see
/// it: so it is found out at the start.
async fn check_conditions(store: &dyn ObjectStore) -> anyhow::Result<()> {
    let key = Key::from(format!("checks/{}", Uuid::new_v4()));
    let put = async |mode: PutMode| {
        let payload = PutPayload::from_static(b"conditional writes");
        store.put_opts(&key, payload, PutOptions::from(mode)).await
    };
    let first = put(PutMode::Create).await.context("write an object")?;
    let again = put(PutMode::Create).await;
    let current: UpdateVersion = first.into();
    let moved_on = put(PutMode::Update(current.clone()))
        .await
        .context("replace an object under the condition that it is unchanged")?;
    let stale = put(PutMode::Update(UpdateVersion {
        e_tag: Some("\"00000000000000000000000000000000\"".to_owned()),
        version: None,
    }))
    .await;
    drop(moved_on);
    store.delete(&key).await.context("delete an object")?;
    if !matches!(again, Err(Error::AlreadyExists { .. })) {
        bail!("the store ignores If-None-Match on writes: nodes would overwrite each other unseen");
    }
    if !matches!(stale, Err(Error::Precondition { .. })) {
        bail!("the store ignores If-Match on writes: nodes would overwrite each other unseen");
    }
    Ok(())
}
