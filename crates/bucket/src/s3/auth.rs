//! Whose signatures are taken.

use std::sync::Arc;

use access::Keyring;
use async_trait::async_trait;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

/// Secret keys by their public halves.
pub(super) struct Keys(pub(super) Arc<Keyring>);

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let known = self.0.find(access_key);
        known
            .map(|known| SecretKey::from(known.secret))
            .ok_or_else(|| {
                s3_error!(
                    InvalidAccessKeyId,
                    "The AWS Access Key Id you provided does not exist in our records."
                )
            })
    }
}
