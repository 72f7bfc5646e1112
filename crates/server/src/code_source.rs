//! Code packages that lie in our own buckets.

use api::{CodeSource, CodeSourceError};
use async_trait::async_trait;
use bucket::{BucketName, BucketStore, Error, ObjectKey, VersionId};
use bytes::Bytes;

/// Fetches packages named by bucket and key.
#[derive(Debug)]
pub(crate) struct BucketCode(pub(crate) BucketStore);

#[async_trait]
impl CodeSource for BucketCode {
    async fn fetch(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        max_bytes: u64,
    ) -> Result<Bytes, CodeSourceError> {
        let (bucket, key) = BucketName::new(bucket)
            .and_then(|bucket| Ok((bucket, ObjectKey::new(key)?)))
            .map_err(translate)?;
        let object = match version {
            None => self.0.head(&bucket, &key),
            Some(version) => {
                VersionId::parse(version).and_then(|version| self.0.version(&bucket, &key, version))
            }
        };
        let object = object.map_err(translate)?;
        if object.size() > max_bytes {
            let text = format!("{key} has {} bytes, {max_bytes} are taken", object.size());
            return Err(refused("EntityTooLarge", text));
        }
        let body = self
            .0
            .read(&object, 0..object.size())
            .await
            .map_err(translate)?;
        body.collect().await.map_err(translate)
    }
}

fn translate(error: Error) -> CodeSourceError {
    match error {
        Error::NoSuchBucket { .. } | Error::InvalidBucketName { .. } => {
            refused("NoSuchBucket", error.to_string())
        }
        Error::NoSuchKey { .. } | Error::InvalidKey { .. } => {
            refused("NoSuchKey", error.to_string())
        }
        Error::NoSuchVersion { .. }
        | Error::InvalidVersionId { .. }
        | Error::IsDeleteMarker { .. } => refused("NoSuchVersion", error.to_string()),
        error => CodeSourceError::Unavailable {
            source: Box::new(error),
        },
    }
}

fn refused(code: &str, message: String) -> CodeSourceError {
    CodeSourceError::Refused {
        code: code.to_owned(),
        message,
    }
}
