//! From a name to an image, and from an image to the files of its layers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::layouts::Layouts;
use crate::manifest::{self, ARCHITECTURE, Config, Descriptor, Document, Manifest};
use crate::reference::{Place, Version};
use crate::registry::{Registries, RegistryPattern};
use crate::sink::Sink;
use crate::{Digest, Error, Image, Layer, Reference, RunConfig};

/// Bytes of a manifest, an index or a configuration, at most: what registries take (distribution
/// specification 1.1).
pub(crate) const DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;

/// Layers of an image, at most: as many as Docker stacks.
const LAYERS: usize = 127;

/// Bytes of entry point, command, variables and working directory together (AWS Lambda's quota of
/// image settings, 2026).
const SETTINGS_BYTES: usize = 16 * 1024;

/// Where images may come from.
#[derive(Clone, Debug, Default)]
pub struct SourceConfig {
    /// Registries that may be asked.
    pub registries: Vec<RegistryPattern>,
    /// The file with credentials for them, in the form of Docker's `config.json`. It is read anew for
    /// every image.
    pub docker_config: Option<PathBuf>,
    /// The folder below which OCI layouts may be read.
    pub layouts: Option<PathBuf>,
    /// Bytes that an image may have, packed and unpacked.
    pub max_bytes: u64,
}

/// Reads images from registries and layouts.
#[derive(Debug)]
pub struct Source {
    registries: Registries,
    layouts: Layouts,
    max_bytes: u64,
}

/// Documents and content by name, as a kind of place has them. What comes is not checked yet.
#[async_trait]
pub(crate) trait Shelf: Send + Sync {
    /// A manifest or an index.
    async fn manifest(&self, image: &Reference) -> Result<Vec<u8>, Error>;

    /// Writes content into `to`.
    async fn content(&self, image: &Reference, to: &mut Sink) -> Result<(), Error>;
}

impl Source {
    /// Prepares to read. Nothing is asked yet.
    #[must_use]
    pub fn new(config: SourceConfig) -> Self {
        Self {
            registries: Registries::new(config.registries, config.docker_config),
            layouts: Layouts::new(config.layouts),
            max_bytes: config.max_bytes,
        }
    }

    /// Reads the manifest and the configuration that `image` leads to now, and checks that it can be
    /// run here. Of an index, the entry for this machine is taken.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resolve(&self, image: &Reference) -> Result<Image, Error> {
        let shelf = self.shelf(image);
        let (digest, manifest) = one_manifest(shelf, image).await?;
        let resolved = image.at(digest);
        let layers = manifest.layers.iter().map(|layer| layer.size);
        let packed = layers.fold(0_u64, u64::saturating_add);
        if packed > self.max_bytes {
            return Err(Error::TooLarge {
                limit: self.max_bytes,
                unit: "bytes",
            });
        }
        let config = configuration(shelf, &resolved, &manifest.config).await?;
        Ok(Image {
            uri: image.to_string(),
            resolved_uri: resolved.to_string(),
            digest,
            layers: layers_of(image, &manifest, &config)?,
            run: run_config(image, config)?,
        })
    }

    /// Fetches one of an image's layers into a new file, and checks its size and digest.
    ///
    /// # Errors
    /// See [`Error`]; the file may then hold anything.
    pub async fn fetch(&self, image: &Image, layer: &Layer, to: &Path) -> Result<(), Error> {
        let image: Reference = image.resolved_uri.parse()?;
        let mut sink = Sink::file(layer.digest, layer.size, to).await?;
        self.shelf(&image).content(&image, &mut sink).await?;
        sink.finish().await.map(|_| ())
    }

    fn shelf(&self, image: &Reference) -> &dyn Shelf {
        match image.place() {
            Place::Registry(_) => &self.registries,
            Place::Layouts => &self.layouts,
        }
    }
}

/// The manifest that a name leads to, through an index if need be.
async fn one_manifest(shelf: &dyn Shelf, image: &Reference) -> Result<(Digest, Manifest), Error> {
    let (digest, document) = document(shelf, image).await?;
    let index = match document {
        Document::Manifest(manifest) => return Ok((digest, manifest)),
        Document::Index(index) => index,
    };
    let Some(entry) = index.ours() else {
        let reason = format!("it has no image for linux/{ARCHITECTURE}");
        return Err(Error::invalid(format!("the index {image}"), reason));
    };
    match self::document(shelf, &image.at(entry.digest)).await? {
        (digest, Document::Manifest(manifest)) => Ok((digest, manifest)),
        (_, Document::Index(_)) => Err(Error::invalid(
            format!("the index {image}"),
            "it leads to another index",
        )),
    }
}

async fn document(shelf: &dyn Shelf, image: &Reference) -> Result<(Digest, Document), Error> {
    let what = format!("the manifest {image}");
    let bytes = shelf.manifest(image).await?;
    let digest = Digest::of(&bytes);
    match image.version() {
        Version::Digest(expected) if *expected != digest => {
            return Err(Error::invalid(what, format!("its digest is {digest}")));
        }
        Version::Digest(_) | Version::Tag(_) | Version::Only => {}
    }
    Ok((digest, manifest::read(&what, &bytes)?))
}

async fn configuration(
    shelf: &dyn Shelf,
    image: &Reference,
    at: &Descriptor,
) -> Result<Config, Error> {
    let what = format!("the configuration of {image}");
    if !at.is_config() {
        let reason = format!("it is of the type {}", at.media_type);
        return Err(Error::invalid(what, reason));
    }
    if at.size > DOCUMENT_BYTES {
        return Err(Error::invalid(what, "it is too long"));
    }
    let mut sink = Sink::memory(at.digest, at.size);
    shelf.content(image, &mut sink).await?;
    let config: Config = manifest::read(&what, &sink.finish().await?)?;
    if config.os != "linux" || config.architecture != ARCHITECTURE {
        let (os, architecture) = (&config.os, &config.architecture);
        let reason = format!("it is for {os}/{architecture}, and this is linux/{ARCHITECTURE}");
        return Err(Error::invalid(what, reason));
    }
    Ok(config)
}

fn layers_of(image: &Reference, manifest: &Manifest, config: &Config) -> Result<Vec<Layer>, Error> {
    let diff_ids = &config.rootfs.diff_ids;
    if manifest.layers.len() != diff_ids.len() || manifest.layers.len() > LAYERS {
        let (layers, named) = (manifest.layers.len(), diff_ids.len());
        let reason = format!("it has {layers} layers, its configuration {named}, {LAYERS} at most");
        return Err(Error::invalid(format!("the manifest {image}"), reason));
    }
    let layers = manifest.layers.iter().zip(diff_ids);
    let layer = |(layer, diff_id): (&Descriptor, &Digest)| {
        let compression = layer.compression().ok_or_else(|| {
            let what = format!("the layer {} of {image}", layer.digest);
            Error::invalid(what, format!("it is of the type {}", layer.media_type))
        })?;
        Ok(Layer {
            digest: layer.digest,
            size: layer.size,
            compression,
            diff_id: *diff_id,
        })
    };
    layers.map(layer).collect()
}

fn run_config(image: &Reference, config: Config) -> Result<RunConfig, Error> {
    let run = config.config.unwrap_or_default();
    let variables = run.env.unwrap_or_default();
    let variables: BTreeMap<_, _> = variables
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let run = RunConfig {
        entry_point: run.entrypoint.unwrap_or_default(),
        command: run.cmd.unwrap_or_default(),
        environment: variables,
        working_directory: run.working_dir.unwrap_or_default(),
    };
    if !fits(&run) {
        return Err(Error::invalid(
            format!("the configuration of {image}"),
            format!("its settings are longer than {SETTINGS_BYTES} bytes, or hold a zero byte"),
        ));
    }
    Ok(run)
}

fn fits(run: &RunConfig) -> bool {
    let pairs = run.environment.iter();
    let pairs = pairs.flat_map(|(name, value)| [name, value]);
    let texts = run.entry_point.iter().chain(&run.command).chain(pairs);
    let mut bytes = 0;
    texts.chain([&run.working_directory]).all(|text| {
        bytes += text.len();
        bytes <= SETTINGS_BYTES && !text.contains('\0')
    })
}
