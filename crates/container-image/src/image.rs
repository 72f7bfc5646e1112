//! An image as it is known once its manifest and configuration have been read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// One image, for ever: everything but the content of its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name as the user gave it.
    pub uri: String,
    /// The same name with the digest of its manifest: of an index, that of this machine's entry.
    pub resolved_uri: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// What it says of how it is run.
    pub run: RunConfig,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the layer as it is stored.
    pub digest: Digest,
    /// Its bytes as it is stored.
    pub size: u64,
    /// How it is packed.
    pub compression: Compression,
    /// The digest of the archive inside.
    pub diff_id: Digest,
}

/// How a layer's archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// What an image says of how it is run. Its user is not kept: instances have one of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConfig {
    /// `ENTRYPOINT`.
    pub entry_point: Vec<String>,
    /// `CMD`.
    pub command: Vec<String>,
    /// `ENV`.
    pub environment: BTreeMap<String, String>,
    /// `WORKDIR`; empty where it says nothing.
    pub working_directory: String,
}
