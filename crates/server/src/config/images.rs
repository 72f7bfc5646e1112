//! Where container images may come from.

use std::path::PathBuf;

use anyhow::bail;
use container_image::{RegistryPattern, SourceConfig};
use function::limits::IMAGE_BYTES;
use serde::{Deserialize, Serialize};

/// Bytes of a mebibyte.
const MIB: u64 = 1024 * 1024;

/// Container images that functions may be. Without a registry or a folder there are none.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Images {
    /// Registries that may be asked, as they stand in names of images: `HOST` or `HOST:PORT`, `*.DOMAIN`
    /// with or without a port for all below a domain, `*` for all. They are spoken to by HTTPS, and by
    /// plain HTTP on this machine's loopback interface.
    pub(crate) registries: Vec<RegistryPattern>,
    /// A file in the form of Docker's `config.json` with credentials for them, read whenever a registry
    /// asks for some. Helper programs are not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) docker_config: Option<PathBuf>,
    /// A folder of OCI layouts: `oci:NAME:TAG` is the image `TAG` in the layout `NAME` below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layouts: Option<PathBuf>,
    /// MiB that an image may have, packed and unpacked.
    pub(crate) max_mib: u64,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            docker_config: None,
            layouts: None,
            max_mib: IMAGE_BYTES / MIB,
        }
    }
}

impl Images {
    /// The largest image.
    pub(crate) const fn max_bytes(&self) -> u64 {
        self.max_mib * MIB
    }

    /// What reads them.
    pub(crate) fn source(&self) -> SourceConfig {
        SourceConfig {
            registries: self.registries.clone(),
            docker_config: self.docker_config.clone(),
            layouts: self.layouts.clone(),
            max_bytes: self.max_bytes(),
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let most = IMAGE_BYTES / MIB;
        if !(1..=most).contains(&self.max_mib) {
            bail!("functions.images.max_mib must be 1 to {most}");
        }
        Ok(())
    }
}
