//! A multipart upload through `object_store`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};
use parking_lot::Mutex;

use super::{failed, key, written};
use crate::{
    BucketName, BucketStore, CompletedPart, NewUpload, ObjectAttributes, ObjectKey, PartNumber,
    PartSizes, PutBody, Requester, UploadCompletion, UploadId, WriteCondition,
};

/// An upload in progress. Parts may have any size, arrive in any order, and are the object in the
/// order in which they were asked for.
#[derive(Debug)]
pub(super) struct Upload {
    store: BucketStore,
    bucket: BucketName,
    location: Path,
    key: ObjectKey,
    id: UploadId,
    /// Parts asked for.
    asked: u32,
    arrived: Arc<Mutex<BTreeMap<PartNumber, CompletedPart>>>,
}

impl Upload {
    pub(super) async fn begin(
        store: BucketStore,
        bucket: BucketName,
        location: Path,
        attributes: ObjectAttributes,
    ) -> object_store::Result<Self> {
        let key = key(&location)?;
        let upload = NewUpload {
            attributes,
            checksum: None,
        };
        let id = store
            .create_upload(&bucket, &key, upload)
            .await
            .map_err(|error| failed(&location, error))?;
        Ok(Self {
            store,
            bucket,
            location,
            key,
            id,
            asked: 0,
            arrived: Arc::default(),
        })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.asked += 1;
        let number = PartNumber::new(self.asked);
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.key.clone());
        let (id, location) = (self.id, self.location.clone());
        let arrived = Arc::clone(&self.arrived);
        Box::pin(async move {
            let number = number.map_err(|error| failed(&location, error))?;
            let chunks: Vec<_> = data.into_iter().map(Ok).collect();
            let body = PutBody::stream(stream::iter(chunks));
            let part = store
                .upload_part(&bucket, &key, &id, number, body)
                .await
                .map_err(|error| failed(&location, error))?;
            let part = CompletedPart {
                number,
                etag: Some(part.etag),
                checksums: BTreeMap::new(),
            };
            arrived.lock().insert(number, part);
            Ok(())
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let completion = UploadCompletion {
            parts: self.arrived.lock().values().cloned().collect(),
            part_sizes: PartSizes::Any,
            size: None,
            checksums: BTreeMap::new(),
            condition: WriteCondition::Always,
            requester: Requester::internal(),
        };
        let object = self
            .store
            .complete_upload(&self.bucket, &self.key, &self.id, completion)
            .await
            .map_err(|error| failed(&self.location, error))?;
        Ok(written(&object))
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.store
            .abort_upload(&self.bucket, &self.key, &self.id)
            .await
            .map_err(|error| failed(&self.location, error))
    }
}
