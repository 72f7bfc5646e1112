//! Multipart uploads in progress.
//!
//! An upload is not an event until it is completed, so its state is not in the log but in a file of
//! its own: `uploads/<id>.jsonl`, the creation on the first line and a part on each further one,
//! synced line by line. A last line that is cut short was never acknowledged and is dropped;
//! anything else that is unreadable is damage. Parts are blobs from the start, so that completing an
//! upload copies nothing.

mod file;
mod ids;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clock::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

pub use ids::{PartNumber, UploadId};

use crate::blob::{BlobRef, BlobStore, OwnedBlobs};
use crate::ingest::{Ingested, IngestedBytes, off_thread};
use crate::{
    BucketName, ChecksumAlgorithm, ChecksumKind, Checksums, ETag, Error, ObjectAttributes,
    ObjectKey,
};
use file::UploadFile;

/// An upload in progress, as its creator asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadInfo {
    /// Its id.
    pub id: UploadId,
    /// Its bucket.
    pub bucket: BucketName,
    /// The key that its object will have.
    pub key: ObjectKey,
    /// When it was created.
    pub initiated: Timestamp,
    /// What its object will carry.
    #[serde(flatten)]
    pub attributes: ObjectAttributes,
    /// The checksum that its creator chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// An uploaded part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: PartNumber,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag.
    pub etag: ETag,
    /// Its checksums.
    pub checksums: Checksums,
    /// When it was uploaded.
    pub uploaded: Timestamp,
}

/// A part as the client lists it to complete its upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: PartNumber,
    /// The tag that the client was given for it.
    pub etag: Option<ETag>,
    /// Checksums that the client was given for it.
    pub checksums: BTreeMap<ChecksumAlgorithm, String>,
}

/// How small parts may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartSizes {
    /// Any size.
    Any,
    /// 5 MiB, but for the last one (AWS, "Multipart upload limits", 2026).
    AtLeastFiveMebibytes,
}

/// A part's line in the upload's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PartLine {
    part: PartNumber,
    etag: ETag,
    blob: BlobRef,
    checksums: Checksums,
    uploaded: Timestamp,
}

/// Uploads in progress.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    live: RwLock<BTreeMap<UploadId, Arc<Upload>>>,
}

/// One upload in progress.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) info: UploadInfo,
    state: Mutex<UploadState>,
}

/// What changes about an upload. Its lock is held over each change, file included.
#[derive(Debug)]
pub(crate) struct UploadState {
    /// `None` once the upload is completed or aborted.
    file: Option<UploadFile>,
    parts: BTreeMap<PartNumber, StoredPart>,
}

#[derive(Debug)]
pub(crate) struct StoredPart {
    pub(crate) part: Part,
    pub(crate) blob: OwnedBlobs,
}

impl Uploads {
    /// Reads the folder. Uploads for which `is_over` holds (completed, or of a bucket that is gone)
    /// are removed, and so are their parts later on, as blobs that nothing names.
    pub(crate) fn open(
        folder: PathBuf,
        blobs: &BlobStore,
        is_over: impl Fn(&UploadInfo) -> bool,
    ) -> Result<Self, Error> {
        let mut live = BTreeMap::new();
        for (file, info, lines) in file::read_all(&folder)? {
            if is_over(&info) {
                file.remove()
                    .map_err(|source| Error::io("remove an upload's file", source))?;
                continue;
            }
            let parts = lines
                .into_iter()
                .map(|line| (line.part, line.stored(blobs)))
                .collect();
            let upload = Upload {
                state: Mutex::new(UploadState {
                    file: Some(file),
                    parts,
                }),
                info,
            };
            live.insert(upload.info.id, Arc::new(upload));
        }
        Ok(Self {
            folder,
            live: RwLock::new(live),
        })
    }

    /// Begins an upload, durably.
    pub(crate) async fn create(&self, info: UploadInfo) -> Result<(), Error> {
        let folder = self.folder.clone();
        let written = info.clone();
        let file = off_thread(move || UploadFile::create(&folder, &written)).await?;
        let upload = Upload {
            state: Mutex::new(UploadState {
                file: Some(file),
                parts: BTreeMap::new(),
            }),
            info,
        };
        self.live.write().insert(upload.info.id, Arc::new(upload));
        Ok(())
    }

    /// The upload of that id, which must be for that key.
    pub(crate) fn get(
        &self,
        id: &UploadId,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Arc<Upload>, Error> {
        self.live
            .read()
            .get(id)
            .filter(|upload| upload.info.bucket == *bucket && upload.info.key == *key)
            .cloned()
            .ok_or_else(|| no_such(*id))
    }

    /// A bucket's uploads, by key and then by time.
    pub(crate) fn of_bucket(&self, bucket: &BucketName) -> Vec<Arc<Upload>> {
        let mut uploads: Vec<Arc<Upload>> = self
            .live
            .read()
            .values()
            .filter(|upload| upload.info.bucket == *bucket)
            .cloned()
            .collect();
        uploads.sort_by(|a, b| {
            let order = |upload: &Upload| (upload.info.initiated, upload.info.id);
            (&a.info.key, order(a)).cmp(&(&b.info.key, order(b)))
        });
        uploads
    }

    /// Every blob of an upload in progress.
    pub(crate) fn blobs(&self) -> Vec<BlobRef> {
        let mut refs = Vec::new();
        for upload in self.live.read().values() {
            if let Ok(state) = upload.state.try_lock() {
                let parts = state.parts.values();
                refs.extend(parts.flat_map(|part| part.blob.refs().iter().copied()));
            }
        }
        refs
    }

    /// Ends an upload: removes its file, durably, and forgets it. The files of its parts go too,
    /// but for those in `used`.
    pub(crate) async fn finish(
        &self,
        upload: &Upload,
        mut state: MutexGuard<'_, UploadState>,
        used: &[PartNumber],
    ) -> Result<(), Error> {
        let file = state.file.take().ok_or_else(|| no_such(upload.info.id))?;
        self.live.write().remove(&upload.info.id);
        off_thread(move || file.remove()).await?;
        for (number, stored) in std::mem::take(&mut state.parts) {
            if !used.contains(&number) {
                stored.blob.release();
            }
        }
        Ok(())
    }
}

impl Upload {
    /// Locks the upload. [`Error::NoSuchUpload`] when it is over.
    pub(crate) async fn lock(&self) -> Result<MutexGuard<'_, UploadState>, Error> {
        let state = self.state.lock().await;
        if state.file.is_none() {
            return Err(no_such(self.info.id));
        }
        Ok(state)
    }

    /// Adds a part, durably. It replaces an earlier one of its number.
    pub(crate) async fn add(
        &self,
        number: PartNumber,
        ingested: Ingested,
        uploaded: Timestamp,
    ) -> Result<Part, Error> {
        let mut state = self.lock().await?;
        let etag = ingested.etag();
        let IngestedBytes::Blobs(blob) = ingested.bytes else {
            return Err(Error::invalid("parts are kept as blobs"));
        };
        let line = PartLine {
            part: number,
            etag,
            blob: blob.refs()[0],
            checksums: ingested.checksums,
            uploaded,
        };
        let mut file = state.file.take().ok_or_else(|| no_such(self.info.id))?;
        blob.keep();
        let written = line.clone();
        let (file, result) = off_thread(move || {
            let result = file.append(&written);
            Ok((file, result))
        })
        .await?;
        state.file = Some(file);
        if let Err(source) = result {
            blob.release();
            return Err(Error::io("write an upload's file", source));
        }
        let part = line.view();
        let stored = StoredPart {
            part: part.clone(),
            blob,
        };
        if let Some(replaced) = state.parts.insert(number, stored) {
            replaced.blob.release();
        }
        Ok(part)
    }
}

impl UploadState {
    pub(crate) fn part(&self, number: PartNumber) -> Option<&StoredPart> {
        self.parts.get(&number)
    }

    /// The parts by number.
    pub(crate) fn parts(&self) -> Vec<Part> {
        self.parts
            .values()
            .map(|stored| stored.part.clone())
            .collect()
    }
}

impl PartLine {
    fn view(&self) -> Part {
        Part {
            number: self.part,
            size: self.blob.len,
            etag: self.etag.clone(),
            checksums: self.checksums.clone(),
            uploaded: self.uploaded,
        }
    }

    fn stored(self, blobs: &BlobStore) -> StoredPart {
        StoredPart {
            part: self.view(),
            blob: blobs.kept(vec![self.blob]),
        }
    }
}

impl UploadInfo {
    /// The checksum that the object will have.
    pub(crate) fn object_checksum(&self) -> (ChecksumAlgorithm, ChecksumKind) {
        self.checksum
            .unwrap_or((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject))
    }
}

pub(crate) fn no_such(id: UploadId) -> Error {
    Error::NoSuchUpload {
        upload: id.to_string(),
    }
}
