//! Code packages that lie in our own buckets.

use api::{CodeSource, CodeSourceError};
use async_trait::async_trait;
use bucket::{BucketName, BucketStore, Error, ObjectKey};
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
        if version.is_some() {
            return Err(refused(
                "NoSuchVersion",
                "buckets keep no versions yet: leave S3ObjectVersion out".to_owned(),
            ));
        }
        let (bucket, key) = BucketName::new(bucket)
            .and_then(|bucket| Ok((bucket, ObjectKey::new(key)?)))
            .map_err(translate)?;
        let object = self.0.head(&bucket, &key).map_err(translate)?;
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
