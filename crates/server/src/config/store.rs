//! `[store]`: where objects, code packages and the registry of functions are kept.

use std::path::PathBuf;

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// The object store.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    /// `folder`: the data folder, whose buckets the S3 port serves. `s3`: an S3-compatible store
    /// that nodes share; the S3 port then rests.
    pub(crate) kind: StoreKind,
    /// The store, when `kind = "s3"`.
    pub(crate) s3: S3Store,
}

/// Which store.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// The data folder.
    #[default]
    Folder,
    /// An S3-compatible store with conditional writes.
    S3,
}

/// A place in an S3-compatible store.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct S3Store {
    /// The store's address, such as `https://s3.example.org`; empty: AWS S3 of the region.
    pub(crate) endpoint: String,
    /// The store's region.
    pub(crate) region: String,
    /// The bucket; it must exist.
    pub(crate) bucket: String,
    /// What the keys of everything in it begin with.
    pub(crate) prefix: String,
    /// An AWS shared-credentials file; empty: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the
    /// file that `AWS_SHARED_CREDENTIALS_FILE` names.
    pub(crate) credentials: PathBuf,
}

impl Default for S3Store {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            bucket: String::new(),
            prefix: "tidemill".to_owned(),
            credentials: PathBuf::new(),
        }
    }
}

impl Store {
    /// # Errors
    /// A key is missing, malformed, or set without a use.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self.kind {
            StoreKind::Folder if self.s3 != S3Store::default() => bail!(
                "store.s3 is set and store.kind is \"folder\": set store.kind = \"s3\" to use it, or remove it"
            ),
            StoreKind::Folder => Ok(()),
            StoreKind::S3 => self.s3.check(),
        }
    }
}

impl S3Store {
    fn check(&self) -> anyhow::Result<()> {
        if self.bucket.is_empty() {
            bail!("store.kind is \"s3\": name an existing bucket in store.s3.bucket");
        }
        if self.region.is_empty() {
            bail!("store.s3.region must not be empty");
        }
        let http = ["http://", "https://"];
        if !self.endpoint.is_empty() && !http.iter().any(|scheme| self.endpoint.starts_with(scheme))
        {
            bail!(
                "store.s3.endpoint {:?} must begin with http:// or https://",
                self.endpoint
            );
        }
        Ok(())
    }

    /// Where this is, for people.
    pub(crate) fn address(&self) -> String {
        if self.endpoint.is_empty() {
            format!("AWS S3 in {}", self.region)
        } else {
            self.endpoint.clone()
        }
    }
}
