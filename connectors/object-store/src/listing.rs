//! What is asked of a store: everything that is in it, and single objects.

use async_trait::async_trait;
use clock::Timestamp;
use futures::stream::BoxStream;
use object_store::Result;

/// A store that can be listed. Both questions are answered as of some moment between question and
/// answer, and say the same of the same state of an object.
#[async_trait]
pub trait Listing: std::fmt::Debug + Send + Sync + 'static {
    /// Every object whose key begins so, in any order.
    fn all(&self, prefix: Option<&str>) -> BoxStream<'static, Result<Listed>>;

    /// One object; `None` when there is none.
    ///
    /// # Errors
    /// Those of the store.
    async fn one(&self, key: &str) -> Result<Option<Listed>>;
}

/// An object as a store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key, byte for byte.
    pub key: String,
    /// Its entity tag, with or without quotes.
    pub etag: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}
