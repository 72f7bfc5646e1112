//! Whose signatures are taken.

use std::collections::HashMap;

use async_trait::async_trait;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

/// A pair of keys that requests are signed with.
#[derive(Clone)]
pub struct Credential {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
}

/// Secret keys by their public halves.
pub(super) struct Keys(HashMap<String, SecretKey>);

impl Keys {
    pub(super) fn new(credentials: impl IntoIterator<Item = Credential>) -> Self {
        let keys = credentials.into_iter().map(|credential| {
            let secret = SecretKey::from(credential.secret_access_key);
            (credential.access_key_id, secret)
        });
        Self(keys.collect())
    }
}

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0.get(access_key).cloned().ok_or_else(|| {
            s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )
        })
    }
}
