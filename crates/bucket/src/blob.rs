//! Immutable files of bytes.
//!
//! A blob is written once under a name of its own, synced together with its folder, and only then
//! named by a record or an upload's file. It is never changed or renamed. Blobs that nothing names
//! (their writer died before its append) are collected at start.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// A blob's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct BlobId(#[serde(with = "uuid::serde::simple")] Uuid);

/// A blob and its length in bytes. On disk and in records: `["<id>", <length>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(BlobId, u64)", into = "(BlobId, u64)")]
pub(crate) struct BlobRef {
    pub(crate) id: BlobId,
    pub(crate) len: u64,
}

/// The folder of blobs: `blobs/<first two digits>/<id>`.
#[derive(Clone, Debug)]
pub(crate) struct BlobStore {
    root: Arc<Path>,
    tasks: TaskTracker,
}

/// Blobs that belong to one thing: an object, a part, a write under way. They go with their owner,
/// and so with the last reader that holds it, unless something durable names them.
pub(crate) struct OwnedBlobs {
    refs: Vec<BlobRef>,
    store: BlobStore,
    /// Whether anything durable names them.
    kept: AtomicBool,
}

/// A blob being written. Dropped unfinished it is gone.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    file: File,
    blobs: OwnedBlobs,
}

impl BlobStore {
    /// Opens the folder and makes its 256 subfolders, durably. Removals run on `tasks`.
    pub(crate) fn open(root: PathBuf, tasks: TaskTracker) -> io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        for shard in 0..=u8::MAX {
            match std::fs::create_dir(root.join(format!("{shard:02x}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        sync_folder(&root)?;
        Ok(Self {
            root: root.into(),
            tasks,
        })
    }

    pub(crate) fn path(&self, id: BlobId) -> PathBuf {
        let name = id.0.simple().to_string();
        self.root.join(&name[..2]).join(name)
    }

    /// Begins a new blob.
    pub(crate) fn create(&self) -> io::Result<BlobWriter> {
        let id = BlobId(Uuid::new_v4());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(id))?;
        let blobs = self.disposable(vec![BlobRef { id, len: 0 }]);
        Ok(BlobWriter { file, blobs })
    }

    /// Second names for blobs, durable on return: a copy without copying bytes.
    pub(crate) fn link(&self, refs: &[BlobRef]) -> io::Result<OwnedBlobs> {
        let mut linked = self.disposable(Vec::with_capacity(refs.len()));
        for from in refs {
            let id = BlobId(Uuid::new_v4());
            let path = self.path(id);
            std::fs::hard_link(self.path(from.id), &path)?;
            linked.refs.push(BlobRef { id, len: from.len });
            sync_folder(path.parent().expect("a blob lies in a folder"))?;
        }
        Ok(linked)
    }

    /// Blobs that go when dropped, until they are [kept](OwnedBlobs::keep).
    pub(crate) fn disposable(&self, refs: Vec<BlobRef>) -> OwnedBlobs {
        OwnedBlobs {
            refs,
            store: self.clone(),
            kept: AtomicBool::new(false),
        }
    }

    /// Blobs that something durable names.
    pub(crate) fn kept(&self, refs: Vec<BlobRef>) -> OwnedBlobs {
        let blobs = self.disposable(refs);
        blobs.keep();
        blobs
    }

    /// Every blob in the folder, in no order. Files with other names are left out.
    pub(crate) fn all(&self) -> io::Result<Vec<BlobId>> {
        let mut ids = Vec::new();
        for shard in std::fs::read_dir(&self.root)? {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(shard.path())? {
                match Uuid::try_parse(&file?.file_name().to_string_lossy()) {
                    Ok(id) => ids.push(BlobId(id)),
                    Err(_) => tracing::warn!("a file among the blobs is none; it is left alone"),
                }
            }
        }
        Ok(ids)
    }

    /// Removes blobs that nothing names.
    pub(crate) fn remove(&self, ids: impl IntoIterator<Item = BlobId>) {
        for id in ids {
            if let Err(error) = std::fs::remove_file(self.path(id))
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "a blob could not be removed; the next start tries again");
            }
        }
    }
}

impl OwnedBlobs {
    pub(crate) fn refs(&self) -> &[BlobRef] {
        &self.refs
    }

    /// Something durable names the blobs, or is about to: dropping them leaves the files. Returns
    /// whether that was so before.
    pub(crate) fn keep(&self) -> bool {
        self.kept.swap(true, Ordering::AcqRel)
    }

    /// Nothing durable names the blobs any more: the last owner to be dropped removes the files.
    pub(crate) fn release(&self) {
        self.kept.store(false, Ordering::Release);
    }
}

impl fmt::Debug for OwnedBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.refs).finish()
    }
}

impl Drop for OwnedBlobs {
    fn drop(&mut self) {
        if *self.kept.get_mut() || self.refs.is_empty() {
            return;
        }
        let (store, refs) = (self.store.clone(), std::mem::take(&mut self.refs));
        let remove = move || store.remove(refs.into_iter().map(|blob| blob.id));
        match Handle::try_current() {
            Ok(runtime) => {
                self.store.tasks.spawn_blocking_on(remove, &runtime);
            }
            Err(_) => remove(),
        }
    }
}

impl BlobWriter {
    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        for chunk in chunks {
            self.file.write_all(chunk)?;
            self.blobs.refs[0].len += chunk.len() as u64;
        }
        Ok(())
    }

    /// Makes the bytes and the name durable. The blob still goes when dropped: nothing names it.
    pub(crate) fn finish(self) -> io::Result<OwnedBlobs> {
        self.file.sync_data()?;
        let path = self.blobs.store.path(self.blobs.refs[0].id);
        sync_folder(path.parent().expect("a blob lies in a folder"))?;
        Ok(self.blobs)
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl From<(BlobId, u64)> for BlobRef {
    fn from((id, len): (BlobId, u64)) -> Self {
        Self { id, len }
    }
}

impl From<BlobRef> for (BlobId, u64) {
    fn from(blob: BlobRef) -> Self {
        (blob.id, blob.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_goes_with_its_owner_unless_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path().join("blobs"), TaskTracker::new()).unwrap();
        let write = || {
            let mut writer = store.create().unwrap();
            writer.write(&[Bytes::from_static(b"abc")]).unwrap();
            writer
        };
        drop(write());
        drop(write().finish().unwrap());
        assert!(store.all().unwrap().is_empty());

        let kept = write().finish().unwrap();
        let copy = store.link(kept.refs()).unwrap();
        kept.keep();
        drop(kept);
        assert_eq!(store.all().unwrap().len(), 2);
        assert_eq!(
            std::fs::read(store.path(copy.refs()[0].id)).unwrap(),
            b"abc"
        );
        drop(copy);
        assert_eq!(store.all().unwrap().len(), 1);
    }

    #[test]
    fn a_reference_reads_as_id_and_length() {
        let blob = BlobRef {
            id: BlobId(Uuid::from_u128(0xab << 120)),
            len: 7,
        };
        let json = serde_json::to_string(&blob).unwrap();
        assert_eq!(json, r#"["ab000000000000000000000000000000",7]"#);
        assert_eq!(serde_json::from_str::<BlobRef>(&json).unwrap(), blob);
    }
}
