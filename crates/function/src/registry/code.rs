//! Code archives in the store and their unpacked folders on disk.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::document::store_error;
use super::{Error, opt};
use crate::{CodePackage, unpack};

/// Unpacked packages, one folder for each digest. A folder that is there is complete and durable: it
/// is filled and synced under another name first.
#[derive(Debug)]
pub(super) struct CodeCache {
    store: Arc<dyn ObjectStore>,
    root: PathBuf,
    /// Layers laid over one another, one folder for each such pile. Empty when the cache is opened.
    merged: PathBuf,
    /// The folders of this process; a cell that is empty is being filled.
    folders: Mutex<HashMap<String, Arc<OnceCell<PathBuf>>>>,
}

impl CodeCache {
    pub(super) async fn open(store: Arc<dyn ObjectStore>, cache: PathBuf) -> Result<Self, Error> {
        let root = cache.join("code");
        let merged = cache.join("layers");
        let (path, old) = (root.clone(), merged.clone());
        blocking(move || {
            match fs::remove_dir_all(&old) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(cache_error(&old, source));
                }
                Ok(()) | Err(_) => {}
            }
            fs::create_dir_all(&path).map_err(|source| cache_error(&path, source))
        })
        .await?;
        Ok(Self {
            store,
            root,
            merged,
            folders: Mutex::default(),
        })
    }

    /// The folder in which these folders lie over one another, made when it is first asked for.
    pub(super) async fn merged(&self, layers: &[PathBuf]) -> Result<PathBuf, Error> {
        let names = layers.iter().filter_map(|layer| layer.file_name());
        let mut hash = Sha256::new();
        names.for_each(|name| hash.update(name.as_encoded_bytes()));
        let digest = hex::encode(hash.finalize());
        let cell = Arc::clone(self.folders.lock().entry(digest.clone()).or_default());
        let merge = async {
            let (layers, to) = (layers.to_vec(), self.merged.join(&digest));
            let beside = self
                .merged
                .join(format!("merging-{}", uuid::Uuid::new_v4()));
            blocking(move || opt::merge(&layers, &beside, &to).map(|()| to)).await
        };
        cell.get_or_try_init(|| merge).await.cloned()
    }

    /// Removes folders that none of `in_use` needs, and half-filled ones.
    pub(super) async fn prune(&self, in_use: Vec<CodePackage>) -> Result<(), Error> {
        let keep: BTreeSet<_> = in_use.iter().filter_map(digest).collect();
        let root = self.root.clone();
        blocking(move || {
            let fail = |source| cache_error(&root, source);
            for entry in fs::read_dir(&root).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let kept = entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| keep.contains(name));
                if !kept {
                    fs::remove_dir_all(entry.path()).map_err(fail)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Checks and unpacks an archive, then stores it. Durable on return.
    pub(super) async fn add(&self, archive: Bytes) -> Result<CodePackage, Error> {
        let hash = Sha256::digest(&archive);
        let package = CodePackage {
            sha256: STANDARD.encode(hash),
            size: archive.len() as u64,
        };
        let digest = hex::encode(hash);
        let kept = archive.clone();
        self.fill(&digest, async { Ok(archive) }).await?;
        let path = archive_path(&digest);
        let put = self
            .store
            .put_opts(
                &path,
                PutPayload::from(kept),
                PutOptions::from(PutMode::Create),
            )
            .await;
        match put {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(package),
            Err(source) => Err(store_error("write", &path, source)),
        }
    }

    /// The folder of a package, filled from the store when it is not there.
    pub(super) async fn folder(&self, package: &CodePackage) -> Result<PathBuf, Error> {
        let digest = expect_digest(package)?;
        self.fill(&digest, self.fetch(&digest)).await
    }

    /// The archive of a package, from the store.
    pub(super) async fn archive(&self, package: &CodePackage) -> Result<Bytes, Error> {
        self.fetch(&expect_digest(package)?).await
    }

    /// Removes the archive from the store. The folder stays: instances may run from it.
    pub(super) async fn remove(&self, package: &CodePackage) -> Result<(), Error> {
        let Some(digest) = digest(package) else {
            return Ok(());
        };
        let path = archive_path(&digest);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error("delete", &path, source)),
        }
    }

    async fn fill(
        &self,
        digest: &str,
        archive: impl Future<Output = Result<Bytes, Error>> + Send,
    ) -> Result<PathBuf, Error> {
        let cell = Arc::clone(self.folders.lock().entry(digest.to_owned()).or_default());
        let fill = async {
            let folder = self.root.join(digest);
            let present = folder.clone();
            if blocking(move || Ok(present.is_dir())).await? {
                return Ok(folder);
            }
            let archive = archive.await?;
            let root = self.root.clone();
            let to = folder.clone();
            blocking(move || unpack_beside(&archive, &root, &to, sync)).await?;
            Ok(folder)
        };
        cell.get_or_try_init(|| fill).await.cloned()
    }

    async fn fetch(&self, digest: &str) -> Result<Bytes, Error> {
        let path = archive_path(digest);
        let read = |source| store_error("read", &path, source);
        let found = self.store.get(&path).await.map_err(read)?;
        let archive = found.bytes().await.map_err(read)?;
        if hex::encode(Sha256::digest(&archive)) != digest {
            return Err(Error::Damaged {
                document: path.to_string(),
                reason: "its SHA-256 is not the one it is named by".to_owned(),
            });
        }
        Ok(archive)
    }
}

/// Unpacks under a name of its own and moves the whole folder into place. All of it is synced before
/// the move, so that a power loss leaves the whole folder or none of that name.
fn unpack_beside(
    archive: &[u8],
    root: &Path,
    to: &Path,
    mut sync: impl FnMut(&Path) -> io::Result<()>,
) -> Result<(), Error> {
    let beside = root.join(format!("unpacking-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&beside).map_err(|source| cache_error(&beside, source))?;
    let unpacked = unpack(archive, &beside).map_err(Error::Package);
    let synced = unpacked.and_then(|()| sync_all(&beside, &mut sync));
    let moved = synced.and_then(|()| match fs::rename(&beside, to) {
        // Another process of the same cache was faster; its folder is the same.
        Err(_) if to.is_dir() => {
            fs::remove_dir_all(&beside).map_err(|source| cache_error(&beside, source))
        }
        other => other.map_err(|source| cache_error(to, source)),
    });
    if moved.is_err() {
        // What is left is swept at the next open.
        let _ = fs::remove_dir_all(&beside);
    }
    moved?;
    sync(root).map_err(|source| cache_error(root, source))
}

/// Syncs every file and folder in `folder`, and `folder` itself. Links are entries of their folder.
fn sync_all(folder: &Path, sync: &mut impl FnMut(&Path) -> io::Result<()>) -> Result<(), Error> {
    let fail = |source| cache_error(folder, source);
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let kind = entry.file_type().map_err(fail)?;
        let path = entry.path();
        if kind.is_dir() {
            sync_all(&path, sync)?;
        } else if kind.is_file() {
            sync(&path).map_err(|source| cache_error(&path, source))?;
        }
    }
    sync(folder).map_err(fail)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Cache {
            path: PathBuf::new(),
            source: io::Error::other(error),
        }),
    }
}

/// The digest in hexadecimal, as folders and archives are named.
fn digest(package: &CodePackage) -> Option<String> {
    let hash = STANDARD.decode(&package.sha256).ok()?;
    (hash.len() == 32).then(|| hex::encode(hash))
}

fn expect_digest(package: &CodePackage) -> Result<String, Error> {
    digest(package).ok_or_else(|| Error::Damaged {
        document: "a function".to_owned(),
        reason: format!("{:?} is no SHA-256 in base64", package.sha256),
    })
}

fn archive_path(digest: &str) -> object_store::path::Path {
    object_store::path::Path::from(format!("code/{digest}.zip"))
}

pub(super) fn cache_error(path: &Path, source: io::Error) -> Error {
    Error::Cache {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn a_package_is_synced_whole_before_it_gets_its_name() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["main.py", "lib/one/a.py", "lib/b.py"] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        let archive = zip.finish().unwrap().into_inner();
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("digest");
        let (mut before, mut after) = (BTreeSet::new(), Vec::new());
        unpack_beside(&archive, root.path(), &to, |path| {
            let place = path.strip_prefix(root.path()).unwrap();
            if to.exists() {
                after.push(place.to_owned());
            } else {
                // Without the name of its own that the folder has before.
                before.insert(place.components().skip(1).collect::<PathBuf>());
            }
            sync(path)
        })
        .unwrap();
        let all = ["", "lib", "lib/b.py", "lib/one", "lib/one/a.py", "main.py"];
        assert_eq!(before, all.map(PathBuf::from).into());
        assert_eq!(after, [PathBuf::new()]);
    }

    #[test]
    fn a_package_that_cannot_be_synced_never_gets_its_name() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("main.py", SimpleFileOptions::default())
            .unwrap();
        let archive = zip.finish().unwrap().into_inner();
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("digest");
        let fail = |_: &Path| Err(io::Error::other("no"));
        unpack_beside(&archive, root.path(), &to, fail).unwrap_err();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
