//! What registries and layouts say of an image, as they write it (OCI image specification 1.1, Docker
//! image manifest version 2, schema 2).

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Compression, Digest, Error};

/// The media types of manifests and indexes that are understood.
pub(crate) const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// This machine's architecture, in the words of images.
pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// A part of an image.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// A manifest or an index: whichever its members say.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Members")]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Members {
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl TryFrom<Members> for Document {
    type Error = &'static str;

    fn try_from(members: Members) -> Result<Self, Self::Error> {
        match (members.config, members.layers, members.manifests) {
            (Some(config), Some(layers), None) => Ok(Self::Manifest(Manifest { config, layers })),
            (None, None, Some(manifests)) => Ok(Self::Index(Index { manifests })),
            _ => Err("it is neither a manifest with config and layers nor an index"),
        }
    }
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) os: String,
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) config: Option<Run>,
    pub(crate) rootfs: Rootfs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Run {
    #[serde(default)]
    pub(crate) env: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) working_dir: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rootfs {
    pub(crate) diff_ids: Vec<Digest>,
}

/// Reads a document, naming it when it is none.
pub(crate) fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::invalid(what, error.to_string()))
}

impl Index {
    /// The entry for this machine.
    pub(crate) fn ours(&self) -> Option<&Descriptor> {
        let ours = |descriptor: &&Descriptor| {
            descriptor.platform.as_ref().is_some_and(|platform| {
                platform.os == "linux" && platform.architecture == ARCHITECTURE
            })
        };
        self.manifests.iter().find(ours)
    }
}

impl Descriptor {
    /// The tag that a layout gives it.
    pub(crate) fn tag(&self) -> Option<&str> {
        const NAME: &str = "org.opencontainers.image.ref.name";
        self.annotations.get(NAME).map(String::as_str)
    }

    pub(crate) fn is_config(&self) -> bool {
        CONFIGS.contains(&self.media_type.as_str())
    }

    /// How a layer is packed; `None` for what is no layer, or lies elsewhere than the image.
    pub(crate) fn compression(&self) -> Option<Compression> {
        let packed = self
            .media_type
            .strip_prefix("application/vnd.oci.image.layer.v1.tar")
            .or_else(|| {
                self.media_type
                    .strip_prefix("application/vnd.docker.image.rootfs.diff.tar")
            })?;
        match packed {
            "" => Some(Compression::None),
            "+gzip" | ".gzip" => Some(Compression::Gzip),
            "+zstd" | ".zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }
}
