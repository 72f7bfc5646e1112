//! From a stream of bytes to bytes that a record can name.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use crate::blob::{BlobStore, BlobWriter, OwnedBlobs};
use crate::checksum::Digester;
use crate::{ChecksumAlgorithm, Checksums, ETag, Error, PutBody};

/// Objects up to this many bytes ride in their record: one commit, no file.
pub(crate) const INLINE_BYTES: u64 = 64 * 1024;

/// Bytes gathered before they are hashed and written: large enough that the hand-over to a blocking
/// thread costs nothing beside them, small enough that a thousand uploads fit in memory.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Where bytes may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Into the record when they are few, else into a blob.
    BySize,
    /// Into a blob.
    Blob,
}

/// A body that has arrived whole, is what its sender announced, and is durable where it lies in a
/// blob. Nothing names it yet.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) bytes: IngestedBytes,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksums,
}

#[derive(Debug)]
pub(crate) enum IngestedBytes {
    Inline(Bytes),
    Blobs(OwnedBlobs),
}

impl Ingested {
    pub(crate) fn etag(&self) -> ETag {
        ETag::of_md5(self.md5)
    }
}

/// Receives a body of at most `limit` bytes. Dropping the future discards what has arrived.
pub(crate) async fn ingest(
    blobs: &BlobStore,
    mut body: PutBody,
    placement: Placement,
    limit: u64,
) -> Result<Ingested, Error> {
    if body.algorithms.is_empty() {
        // What AWS computes for an object that comes without a checksum.
        body.algorithms.insert(ChecksumAlgorithm::Crc64Nvme);
    }
    if body.length.is_some_and(|length| length > limit) {
        return Err(Error::BodyTooLarge { limit });
    }
    let mut sink = Sink::new(blobs.clone(), Digester::new(&body.algorithms));
    let mut size = 0;
    while let Some(chunk) = body.stream.next().await {
        let chunk = chunk.map_err(|source| Error::Body { source })?;
        size += chunk.len() as u64;
        if size > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        sink.gather(chunk);
        if sink.gathered >= CHUNK_BYTES {
            sink = off_thread(move || sink.spill()).await?;
        }
    }
    if let Some(announced) = body.length.filter(|length| *length != size) {
        return Err(Error::IncompleteBody {
            received: size,
            announced,
        });
    }
    let inline = placement == Placement::BySize && size <= INLINE_BYTES;
    let (digester, bytes) = if inline {
        sink.into_memory()
    } else {
        off_thread(move || sink.into_blob()).await?
    };
    let (md5, checksums) = digester.finish();
    verify(body, &md5, &checksums)?;
    Ok(Ingested {
        bytes,
        size,
        md5,
        checksums,
    })
}

/// What has arrived so far: the front in a blob once there is a chunk of it, the rest in memory.
struct Sink {
    blobs: BlobStore,
    digester: Digester,
    writer: Option<BlobWriter>,
    chunks: Vec<Bytes>,
    gathered: usize,
}

impl Sink {
    fn new(blobs: BlobStore, digester: Digester) -> Self {
        Self {
            blobs,
            digester,
            writer: None,
            chunks: Vec::new(),
            gathered: 0,
        }
    }

    fn gather(&mut self, chunk: Bytes) {
        self.gathered += chunk.len();
        self.chunks.push(chunk);
    }

    fn spill(mut self) -> io::Result<Self> {
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.blobs.create()?,
        };
        for chunk in &self.chunks {
            self.digester.update(chunk);
        }
        writer.write(&self.chunks)?;
        self.chunks.clear();
        self.gathered = 0;
        self.writer = Some(writer);
        Ok(self)
    }

    fn into_blob(self) -> io::Result<(Digester, IngestedBytes)> {
        let sink = self.spill()?;
        let writer = sink.writer.expect("spilling opens a writer");
        Ok((sink.digester, IngestedBytes::Blobs(writer.finish()?)))
    }

    fn into_memory(mut self) -> (Digester, IngestedBytes) {
        let mut bytes = BytesMut::with_capacity(self.gathered);
        for chunk in &self.chunks {
            self.digester.update(chunk);
            bytes.extend_from_slice(chunk);
        }
        (self.digester, IngestedBytes::Inline(bytes.freeze()))
    }
}

fn verify(body: PutBody, md5: &[u8; 16], checksums: &Checksums) -> Result<(), Error> {
    if body.md5.is_some_and(|expected| expected != *md5) {
        return Err(Error::BadDigest {
            digest: "Content-MD5",
        });
    }
    let mut expected = body.checksums;
    if let Some(trailer) = body.trailer {
        expected.extend(trailer()?);
    }
    for (algorithm, value) in expected {
        if checksums.get(algorithm) != Some(value.as_str()) {
            return Err(Error::BadDigest {
                digest: algorithm.name(),
            });
        }
    }
    Ok(())
}

/// Runs file work where it may block.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|source| Error::io("write a blob", source)),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Closed),
        },
    }
}
