//! Bytes on their way out.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use event_log::EventLog;
use futures::stream::{self, Stream, StreamExt};

use crate::blob::BlobStore;
use crate::connected::OpenFile;
use crate::object::{Content, Object, Place};
use crate::{Error, change};

/// Bytes read at once: few enough to hold for many slow readers, enough to keep a disk busy.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A range of an object's bytes. Reading ahead stops where the reader does.
pub struct ObjectBody {
    stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>,
    remaining: u64,
}

impl ObjectBody {
    /// Bytes that have not been read yet.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Reads the rest into memory.
    ///
    /// # Errors
    /// [`Error::Io`] when a blob cannot be read.
    pub async fn collect(mut self) -> Result<Bytes, Error> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await {
            all.extend_from_slice(&chunk.map_err(|source| Error::io("read a blob", source))?);
        }
        Ok(all.freeze())
    }
}

impl Stream for ObjectBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.stream.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
        }
        polled
    }
}

impl std::fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectBody")
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

/// Opens `range` of an object, which must lie within it.
pub(crate) async fn open(
    log: &dyn EventLog,
    blobs: &BlobStore,
    object: Arc<Object>,
    range: Range<u64>,
) -> Result<ObjectBody, Error> {
    let remaining = range.end - range.start;
    let stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>> = match &object.content
    {
        Content::Inline(place) => {
            let bytes = read_inline(log, place).await?;
            let bounds = |at: u64| usize::try_from(at).ok().filter(|at| *at <= bytes.len());
            let (Some(from), Some(to)) = (bounds(range.start), bounds(range.end)) else {
                return Err(damaged(place, "the inlined bytes are fewer than its size"));
            };
            let bytes = bytes.slice(from..to);
            Box::pin(stream::iter((!bytes.is_empty()).then_some(Ok::<
                _,
                io::Error,
            >(
                bytes
            ))))
        }
        Content::Blobs(_) => Box::pin(read_blobs(blobs.clone(), object, range)),
        Content::File(file) => Box::pin(read_file(Arc::clone(file), range)),
    };
    Ok(ObjectBody { stream, remaining })
}

/// The bytes that ride in a record.
pub(crate) async fn read_inline(log: &dyn EventLog, place: &Place) -> Result<Bytes, Error> {
    let chunk = log.read(&place.partition, place.offset, 1).await?;
    for batch in chunk.batches {
        for stored in batch.records()? {
            if stored.offset == place.offset {
                return change::inlined(&stored.record)
                    .ok_or_else(|| damaged(place, "the record holds no bytes"));
            }
        }
    }
    Err(damaged(place, "the record is gone"))
}

fn damaged(place: &Place, reason: &str) -> Error {
    Error::Corrupt {
        place: format!("{}@{}", place.partition, place.offset),
        reason: reason.to_owned(),
    }
}

/// Where a reader of blobs is. It holds the object, which keeps the files from being removed, and
/// at most one file open, since an object may have ten thousand.
struct BlobCursor {
    blobs: BlobStore,
    object: Arc<Object>,
    index: usize,
    /// Offset of the current blob within the object.
    base: u64,
    file: Option<Arc<File>>,
    range: Range<u64>,
}

fn read_blobs(
    blobs: BlobStore,
    object: Arc<Object>,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync {
    let cursor = BlobCursor {
        blobs,
        object,
        index: 0,
        base: 0,
        file: None,
        range,
    };
    stream::try_unfold(cursor, |mut cursor| async move {
        let Some((from, len)) = cursor.seek() else {
            return Ok(None);
        };
        let read = tokio::task::spawn_blocking(move || {
            let file = cursor.open()?;
            let mut chunk = BytesMut::zeroed(len);
            file.read_exact_at(&mut chunk, from)?;
            cursor.range.start += len as u64;
            Ok(Some((chunk.freeze(), cursor)))
        });
        read.await.map_err(io::Error::other)?
    })
}

/// Reads somebody else's file, and fails at its end when it was changed meanwhile: a reader never takes
/// a mixture for the whole.
fn read_file(
    file: Arc<OpenFile>,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync {
    stream::try_unfold((file, range), |(file, mut range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let len = (range.end - range.start).min(CHUNK_BYTES);
            let mut chunk = BytesMut::zeroed(usize::try_from(len).expect("at most one chunk"));
            file.file.read_exact_at(&mut chunk, range.start)?;
            range.start += len;
            if range.is_empty() {
                file.expect_unchanged()?;
            }
            Ok(Some((chunk.freeze(), (file, range))))
        });
        read.await.map_err(io::Error::other)?
    })
}

impl BlobCursor {
    /// Moves to the blob that holds the next byte: where in it to read, and how much.
    fn seek(&mut self) -> Option<(u64, usize)> {
        if self.range.is_empty() {
            return None;
        }
        let Content::Blobs(blobs) = &self.object.content else {
            return None;
        };
        loop {
            let blob = blobs.refs().get(self.index)?;
            let end = self.base + blob.len;
            if self.range.start < end {
                let to = end.min(self.range.end).min(self.range.start + CHUNK_BYTES);
                let len = usize::try_from(to - self.range.start).expect("at most one chunk");
                return Some((self.range.start - self.base, len));
            }
            self.base = end;
            self.index += 1;
            self.file = None;
        }
    }

    fn open(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let Content::Blobs(blobs) = &self.object.content else {
            return Err(io::Error::other("the object has no blobs"));
        };
        let file = Arc::new(File::open(self.blobs.path(blobs.refs()[self.index].id))?);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}
