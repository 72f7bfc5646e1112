//! Bytes on their way in, with what the sender says about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream, Stream};

use crate::{ChecksumAlgorithm, Error};

/// Why a stream of bytes broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

type Values = BTreeMap<ChecksumAlgorithm, String>;
type Trailer = Box<dyn FnOnce() -> Result<Values, Error> + Send>;

/// The body of a write. Whatever its sender announced is verified before the write becomes visible.
pub struct PutBody {
    pub(crate) stream: BoxStream<'static, Result<Bytes, BodyError>>,
    pub(crate) length: Option<u64>,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) checksums: Values,
    pub(crate) trailer: Option<Trailer>,
    pub(crate) algorithms: BTreeSet<ChecksumAlgorithm>,
}

impl PutBody {
    /// A body that arrives in pieces.
    #[must_use]
    pub fn stream(stream: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Self {
        Self {
            stream: stream.boxed(),
            length: None,
            md5: None,
            checksums: BTreeMap::new(),
            trailer: None,
            algorithms: BTreeSet::new(),
        }
    }

    /// A body that is all there.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::stream(stream::once(async move { Ok(bytes) }))
    }

    /// It must have this many bytes.
    #[must_use]
    pub fn with_length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }

    /// It must have this MD5.
    #[must_use]
    pub fn with_md5(mut self, md5: [u8; 16]) -> Self {
        self.md5 = Some(md5);
        self
    }

    /// It must have this checksum (base64), which is kept with the object.
    #[must_use]
    pub fn with_checksum(mut self, algorithm: ChecksumAlgorithm, value: String) -> Self {
        self.checksums.insert(algorithm, value);
        self.computing(algorithm)
    }

    /// This checksum is computed and kept.
    #[must_use]
    pub fn computing(mut self, algorithm: ChecksumAlgorithm) -> Self {
        self.algorithms.insert(algorithm);
        self
    }

    /// It must have the checksums that `trailer` gives once the last byte has arrived. Each must be
    /// among those [computed](Self::computing).
    #[must_use]
    pub fn with_trailer(
        mut self,
        trailer: impl FnOnce() -> Result<BTreeMap<ChecksumAlgorithm, String>, Error> + Send + 'static,
    ) -> Self {
        self.trailer = Some(Box::new(trailer));
        self
    }
}

impl From<Bytes> for PutBody {
    fn from(bytes: Bytes) -> Self {
        Self::bytes(bytes)
    }
}

impl fmt::Debug for PutBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutBody")
            .field("length", &self.length)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}
