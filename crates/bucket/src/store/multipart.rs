//! Multipart uploads: create, add parts, complete or abort.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::objects::MAX_PUT_BYTES;
use super::writing::Write;
use super::{BucketStore, Inner};
use crate::change::NewObject;
use crate::index::Index;
use crate::ingest::{Placement, ingest};
use crate::object::NewContent;
use crate::s3_event::Cause;
use crate::uploads::{StoredPart, UploadState};
use crate::{
    BucketName, ChecksumAlgorithm, ChecksumKind, Checksums, CompletedPart, ETag, Error, Object,
    ObjectAttributes, ObjectKey, Part, PartNumber, PartSizes, PutBody, Requester, UploadId,
    UploadInfo, Version, WriteCondition,
};

/// The least size of a part but the last (AWS, "Multipart upload limits", 2026).
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// An upload to begin.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Kept with the object.
    pub attributes: ObjectAttributes,
    /// The checksum that every part must come with and the object gets. Without one the object gets
    /// a CRC64NVME of its bytes.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// An upload to complete.
#[derive(Clone, Debug)]
pub struct UploadCompletion {
    /// The parts of the object, in ascending order. Parts not named are thrown away.
    pub parts: Vec<CompletedPart>,
    /// How small they may be.
    pub part_sizes: PartSizes,
    /// The size that the client expects.
    pub size: Option<u64>,
    /// Checksums of the object that the client expects.
    pub checksums: BTreeMap<ChecksumAlgorithm, String>,
    /// What must hold for the object to appear.
    pub condition: WriteCondition,
    /// Who asked.
    pub requester: Requester,
}

impl BucketStore {
    /// Begins an upload, durably.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`]; [`Error::InvalidRequest`] when parts' checksums of that algorithm do
    /// not add up to one of that kind; [`Error::MetadataTooLarge`].
    pub async fn create_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: NewUpload,
    ) -> Result<UploadId, Error> {
        upload.attributes.check()?;
        let target = self.inner.bucket(bucket)?;
        if let Some((algorithm, kind)) = upload.checksum
            && !algorithm.supports(kind)
        {
            let kind = match kind {
                ChecksumKind::FullObject => "FULL_OBJECT",
                ChecksumKind::Composite => "COMPOSITE",
            };
            return Err(Error::invalid(format!(
                "the {kind} checksum type cannot be used with the {algorithm} checksum algorithm"
            )));
        }
        let info = UploadInfo {
            id: UploadId::random(),
            bucket: bucket.clone(),
            key: key.clone(),
            initiated: self.inner.clock.now(),
            attributes: upload.attributes,
            checksum: upload.checksum,
        };
        let (id, inner) = (info.id, Arc::clone(&self.inner));
        self.to_the_end(async move {
            inner.uploads.create(info.clone()).await?;
            inner.watch_upload(&target, &info);
            Ok(())
        })
        .await?;
        Ok(id)
    }

    /// Receives a part of at most 5 GiB, durably. It replaces an earlier one of its number.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`], [`Error::ChecksumMismatch`], the reasons to reject a body,
    /// [`Error::Full`].
    pub async fn upload_part(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: &UploadId,
        number: PartNumber,
        mut body: PutBody,
    ) -> Result<Part, Error> {
        let inner = &self.inner;
        let upload = inner.uploads.get(id, bucket, key)?;
        if let (Some((expected, _)), Some(actual)) =
            (upload.info.checksum, body.algorithms.first().copied())
            && !body.algorithms.contains(&expected)
        {
            return Err(Error::ChecksumMismatch {
                upload: *id,
                expected,
                actual,
            });
        }
        body = body.computing(upload.info.object_checksum().0);
        let part = ingest(&inner.blobs, body, Placement::Blob, MAX_PUT_BYTES).await?;
        let uploaded = inner.clock.now();
        self.to_the_end(async move { upload.add(number, part, uploaded).await })
            .await
    }

    /// Makes a range of an object a part, copying the bytes.
    ///
    /// # Errors
    /// Those of [`upload_part`](Self::upload_part).
    pub async fn copy_part(
        &self,
        source: &Arc<Object>,
        range: Range<u64>,
        to: (&BucketName, &ObjectKey, &UploadId),
        number: PartNumber,
    ) -> Result<Part, Error> {
        let body = self.body_of(source, range).await?;
        let (bucket, key, id) = to;
        self.upload_part(bucket, key, id, number, body).await
    }

    /// An upload and its parts by number.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`].
    pub async fn upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: &UploadId,
    ) -> Result<(UploadInfo, Vec<Part>), Error> {
        let upload = self.inner.uploads.get(id, bucket, key)?;
        let parts = upload.lock().await?.parts();
        Ok((upload.info.clone(), parts))
    }

    /// A bucket's uploads in progress, by key and then by time.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn uploads(&self, bucket: &BucketName) -> Result<Vec<UploadInfo>, Error> {
        self.inner.bucket(bucket)?;
        let uploads = self.inner.uploads.of_bucket(bucket);
        Ok(uploads.iter().map(|upload| upload.info.clone()).collect())
    }

    /// Makes an object of an upload's parts; no bytes are copied. Repeating it after it succeeded
    /// (the answer may have been lost) succeeds again as long as that object is a version of the key's.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`], [`Error::InvalidPart`], [`Error::InvalidPartOrder`],
    /// [`Error::PartTooSmall`], [`Error::BadDigest`], [`Error::InvalidRequest`], those of the
    /// condition, [`Error::Full`]. The upload goes on then.
    pub async fn complete_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: &UploadId,
        completion: UploadCompletion,
    ) -> Result<Arc<Object>, Error> {
        let target = self.inner.bucket(bucket)?;
        let upload = match self.inner.uploads.get(id, bucket, key) {
            Ok(upload) => upload,
            Err(error) => {
                let of_upload = |version| match version {
                    Version::Object(object) if object.upload == Some(*id) => Some(object),
                    Version::Object(_) | Version::Marker(_) => None,
                };
                let find = |index: &Index| index.versions(key.as_str()).find_map(of_upload);
                return target.with_index(find).ok_or(error);
            }
        };
        let write = Write {
            bucket: target,
            key: key.clone(),
            condition: completion.condition.clone(),
            cause: Cause::CompleteMultipartUpload,
            requester: completion.requester.clone(),
        };
        let inner = Arc::clone(&self.inner);
        self.to_the_end(async move {
            let state = upload.lock().await?;
            let object = inner.assemble(&upload.info, &state, &completion)?;
            let object = inner.write(write, object).await?;
            let used: Vec<PartNumber> = completion.parts.iter().map(|part| part.number).collect();
            if let Err(error) = inner.uploads.finish(&upload, state, &used).await {
                // The object is there; the next start finds the upload in its record and forgets it.
                tracing::warn!(%error, "a completed upload's file could not be removed");
            }
            Ok(object)
        })
        .await
    }

    /// Throws an upload and its parts away.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`].
    pub async fn abort_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: &UploadId,
    ) -> Result<(), Error> {
        let upload = self.inner.uploads.get(id, bucket, key)?;
        let inner = Arc::clone(&self.inner);
        self.to_the_end(async move { inner.abort(&upload).await })
            .await
    }
}

impl Inner {
    /// The object that a completion asks for.
    fn assemble(
        &self,
        upload: &UploadInfo,
        state: &UploadState,
        completion: &UploadCompletion,
    ) -> Result<NewObject, Error> {
        let parts = listed_parts(upload.id, state, completion)?;
        let size = parts.iter().map(|part| part.part.size).sum();
        if completion.size.is_some_and(|expected| expected != size) {
            return Err(Error::invalid(format!(
                "the parts have {size} bytes together, not as many as announced"
            )));
        }
        let checksums = object_checksums(upload, &parts)?;
        for (algorithm, expected) in &completion.checksums {
            match checksums.get(*algorithm) {
                Some(actual) if checksums.kind.is_met(actual, expected) => {}
                Some(_) => {
                    return Err(Error::BadDigest {
                        digest: algorithm.name(),
                    });
                }
                None => {
                    return Err(Error::ChecksumMismatch {
                        upload: upload.id,
                        expected: upload.object_checksum().0,
                        actual: *algorithm,
                    });
                }
            }
        }
        let tags: Vec<[u8; 16]> = parts
            .iter()
            .map(|part| md5_of(part))
            .collect::<Result<_, _>>()?;
        let refs = parts
            .iter()
            .flat_map(|part| part.blob.refs().iter().copied())
            .collect();
        Ok(NewObject {
            size,
            etag: ETag::of_parts(tags.iter()),
            checksums,
            attributes: upload.attributes.clone(),
            again: None,
            upload: Some(upload.id),
            // The upload's file names them until the object's record does.
            content: NewContent::Blobs(Arc::new(self.blobs.kept(refs))),
        })
    }
}

fn listed_parts<'a>(
    upload: UploadId,
    state: &'a UploadState,
    completion: &UploadCompletion,
) -> Result<Vec<&'a StoredPart>, Error> {
    if completion.parts.is_empty() {
        return Err(Error::invalid(
            "an upload is completed with at least one part",
        ));
    }
    if completion
        .parts
        .windows(2)
        .any(|pair| pair[0].number >= pair[1].number)
    {
        return Err(Error::InvalidPartOrder { upload });
    }
    let mut parts = Vec::with_capacity(completion.parts.len());
    for listed in &completion.parts {
        let number = listed.number;
        let invalid = || Error::InvalidPart {
            upload,
            part: number,
        };
        let stored = state.part(number).ok_or_else(invalid)?;
        let same_tag = listed
            .etag
            .as_ref()
            .is_none_or(|etag| *etag == stored.part.etag);
        let same_checksums = listed.checksums.iter().all(|(algorithm, value)| {
            stored.part.checksums.get(*algorithm) == Some(value.as_str())
        });
        if !same_tag || !same_checksums {
            return Err(invalid());
        }
        parts.push(stored);
    }
    match completion.part_sizes {
        PartSizes::Any => {}
        PartSizes::AtLeastFiveMebibytes => {
            let all_but_last = &parts[..parts.len() - 1];
            if let Some(small) = all_but_last
                .iter()
                .find(|stored| stored.part.size < MIN_PART_BYTES)
            {
                return Err(Error::PartTooSmall {
                    upload,
                    part: small.part.number,
                    bytes: small.part.size,
                    minimum: MIN_PART_BYTES,
                });
            }
        }
    }
    Ok(parts)
}

fn object_checksums(upload: &UploadInfo, parts: &[&StoredPart]) -> Result<Checksums, Error> {
    let (algorithm, kind) = upload.object_checksum();
    let damaged = || Error::Corrupt {
        place: format!("upload {}", upload.id),
        reason: format!("a part has no readable {algorithm} checksum"),
    };
    let values: Vec<(&str, u64)> = parts
        .iter()
        .map(|stored| {
            let value = stored.part.checksums.get(algorithm)?;
            Some((value, stored.part.size))
        })
        .collect::<Option<_>>()
        .ok_or_else(damaged)?;
    let value = algorithm
        .of_parts(kind, values.into_iter())
        .ok_or_else(damaged)?;
    Ok(Checksums {
        kind,
        values: BTreeMap::from([(algorithm, value)]),
    })
}

fn md5_of(stored: &StoredPart) -> Result<[u8; 16], Error> {
    let mut md5 = [0; 16];
    hex::decode_to_slice(stored.part.etag.as_str(), &mut md5).map_err(|_| Error::Corrupt {
        place: format!("part {}", stored.part.number),
        reason: "its entity tag is no MD5".to_owned(),
    })?;
    Ok(md5)
}
