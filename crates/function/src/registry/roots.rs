//! Layers of images in the store, and their unpacked roots on disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use container_image::{Allowance, Digest, Image, Layer, LayerFile, Sink, Source, unpack};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use parking_lot::Mutex;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::Error;
use super::code::{blocking, cache_error};
use super::document::store_error;
use crate::limits::IMAGE_ENTRIES;

/// Bytes that are stored at once: a store takes no smaller parts than 5 MiB but the last.
const PART: u64 = 8 * 1024 * 1024;

/// Unpacked images, one folder for each manifest's digest. A folder that is there is complete and
/// durable: it is filled and synced under another name first.
#[derive(Debug)]
pub(super) struct Roots {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
    max_bytes: u64,
    /// The roots of this process; a cell that is empty is being filled.
    roots: Mutex<HashMap<Digest, Arc<OnceCell<PathBuf>>>>,
}

/// Where layers come from.
#[derive(Clone, Copy)]
enum From<'a> {
    /// From the store alone.
    Store,
    /// From where the image is; what the store lacks is stored.
    Source(&'a Source),
}

impl Roots {
    /// Removes what none of `in_use` needs, and half-filled roots.
    pub(super) async fn open(
        store: Arc<dyn ObjectStore>,
        cache: &Path,
        max_bytes: u64,
        in_use: BTreeSet<Digest>,
    ) -> Result<Self, Error> {
        let folder = cache.join("images");
        let swept = folder.clone();
        blocking(move || {
            let fail = |source| cache_error(&swept, source);
            fs::create_dir_all(&swept).map_err(fail)?;
            let keep: BTreeSet<_> = in_use.iter().map(Digest::hex).collect();
            for entry in fs::read_dir(&swept).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let name = entry.file_name();
                if !name.to_str().is_some_and(|name| keep.contains(name)) {
                    fs::remove_dir_all(entry.path()).map_err(fail)?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(Self {
            store,
            folder,
            max_bytes,
            roots: Mutex::default(),
        })
    }

    /// Stores what the store lacks of an image, and unpacks it.
    pub(super) async fn add(&self, image: &Image, source: &Source) -> Result<(), Error> {
        let root = self.fill(image, From::Source(source)).await?;
        tracing::debug!(image = image.resolved_uri, root = %root.display(), "an image is unpacked");
        // A root that was here already says nothing of the store.
        let beside = self.beside();
        let stored = self.fetch(image, From::Source(source), &beside, Wanted::Missing);
        let stored = stored.await.map(|_| ());
        sweep(beside).await;
        stored
    }

    /// The root of an image, filled from the store when it is not there.
    pub(super) async fn root(&self, image: &Image) -> Result<PathBuf, Error> {
        self.fill(image, From::Store).await
    }

    /// Removes a layer from the store.
    pub(super) async fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let path = place(digest);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error("delete", &path, source)),
        }
    }

    async fn fill(&self, image: &Image, from: From<'_>) -> Result<PathBuf, Error> {
        let cell = Arc::clone(self.roots.lock().entry(image.digest).or_default());
        let fill = async {
            let root = self.folder.join(image.digest.hex());
            let present = root.clone();
            if blocking(move || Ok(present.is_dir())).await? {
                return Ok(root);
            }
            let beside = self.beside();
            let filled = self.fill_beside(image, from, &beside, &root).await;
            sweep(beside).await;
            filled.map(|()| root)
        };
        cell.get_or_try_init(|| fill).await.cloned()
    }

    /// A folder for what is to become a root. What is left of it is swept at the next open.
    fn beside(&self) -> PathBuf {
        self.folder.join(format!("unpacking-{}", Uuid::new_v4()))
    }

    async fn fill_beside(
        &self,
        image: &Image,
        from: From<'_>,
        beside: &Path,
        root: &Path,
    ) -> Result<(), Error> {
        let files = self.fetch(image, from, beside, Wanted::All).await?;
        let layers = image.layers.iter().map(|layer| LayerFile {
            path: files[&layer.digest].clone(),
            compression: layer.compression,
            diff_id: layer.diff_id,
        });
        let layers: Vec<_> = layers.collect();
        let (folder, root) = (beside.join("root"), root.to_owned());
        let parent = self.folder.clone();
        let allowance = Allowance {
            bytes: self.max_bytes,
            entries: IMAGE_ENTRIES,
        };
        blocking(move || {
            fs::create_dir(&folder).map_err(|source| cache_error(&folder, source))?;
            unpack(&layers, &folder, allowance).map_err(Error::Image)?;
            match fs::rename(&folder, &root) {
                // Another process of the same cache was faster; its root is the same.
                Err(_) if root.is_dir() => {}
                moved => moved.map_err(|source| cache_error(&root, source))?,
            }
            let synced = fs::File::open(&parent).and_then(|parent| parent.sync_all());
            synced.map_err(|source| cache_error(&parent, source))
        })
        .await
    }

    /// Brings layers into files below `beside`, by their digests.
    async fn fetch(
        &self,
        image: &Image,
        from: From<'_>,
        beside: &Path,
        wanted: Wanted,
    ) -> Result<BTreeMap<Digest, PathBuf>, Error> {
        let folder = beside.to_owned();
        let made = blocking(move || {
            fs::create_dir_all(&folder).map_err(|source| cache_error(&folder, source))
        });
        made.await?;
        let mut files = BTreeMap::new();
        for layer in &image.layers {
            let file = beside.join(layer.digest.hex());
            if files.contains_key(&layer.digest) {
                continue;
            }
            match (from, self.has(&layer.digest).await?, wanted) {
                (From::Source(_), true, Wanted::Missing) => {}
                (From::Store, _, _) | (From::Source(_), true, Wanted::All) => {
                    self.read(layer, &file).await?;
                }
                (From::Source(source), false, _) => {
                    let fetched = source.fetch(image, layer, &file).await;
                    fetched.map_err(Error::Image)?;
                    self.write(layer, &file).await?;
                }
            }
            files.insert(layer.digest, file);
        }
        Ok(files)
    }

    async fn has(&self, digest: &Digest) -> Result<bool, Error> {
        let path = place(digest);
        match self.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(store_error("look for", &path, source)),
        }
    }

    async fn read(&self, layer: &Layer, file: &Path) -> Result<(), Error> {
        let path = place(&layer.digest);
        let failed = |source| store_error("read", &path, source);
        let damaged = |error: container_image::Error| match error {
            container_image::Error::Invalid { .. } => Error::Damaged {
                document: path.to_string(),
                reason: error.to_string(),
            },
            other => Error::Image(other),
        };
        let mut content = self.store.get(&path).await.map_err(failed)?.into_stream();
        let sink = Sink::file(layer.digest, layer.size, file).await;
        let mut sink = sink.map_err(Error::Image)?;
        while let Some(bytes) = content.try_next().await.map_err(failed)? {
            sink.write(&bytes).await.map_err(damaged)?;
        }
        sink.finish().await.map(|_| ()).map_err(damaged)
    }

    /// Stores a layer from its file, which is what its digest says.
    async fn write(&self, layer: &Layer, file: &Path) -> Result<(), Error> {
        let path = place(&layer.digest);
        let failed = |source| store_error("write", &path, source);
        let unread = |source| cache_error(file, source);
        let mut content = File::open(file).await.map_err(unread)?;
        let mut part = async || {
            let mut bytes = Vec::new();
            let read = (&mut content).take(PART).read_to_end(&mut bytes).await;
            read.map(|_| PutPayload::from(Bytes::from(bytes)))
                .map_err(unread)
        };
        if layer.size <= PART {
            let put = self.store.put(&path, part().await?).await;
            return put.map(|_| ()).map_err(failed);
        }
        let mut upload = self.store.put_multipart(&path).await.map_err(failed)?;
        let parts = async {
            loop {
                let payload = part().await?;
                if payload.content_length() == 0 {
                    return Ok(());
                }
                upload.put_part(payload).await.map_err(failed)?;
            }
        };
        match parts.await {
            Ok(()) => upload.complete().await.map(|_| ()).map_err(failed),
            Err(error) => {
                // What is left of it is the store's to forget.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }
}

/// Which layers are brought into files.
#[derive(Clone, Copy)]
enum Wanted {
    /// All.
    All,
    /// Those that the store has not, on their way there.
    Missing,
}

fn place(digest: &Digest) -> object_store::path::Path {
    object_store::path::Path::from(format!("images/sha256/{}", digest.hex()))
}

/// Removes a folder that may hold anything.
async fn sweep(folder: PathBuf) {
    let swept = blocking(move || match fs::remove_dir_all(&folder) {
        Ok(()) => Ok(()),
        Err(source) => Err(cache_error(&folder, source)),
    });
    if let Err(error) = swept.await {
        tracing::debug!(%error, "what an image was unpacked from stays until the next start");
    }
}
