//! What is asked of a store: everything that is in it, and single objects.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, Result};

/// A store that can be listed. Both questions are answered as of some moment between question and
/// answer, and say the same of the same state of an object.
#[async_trait]
pub trait Listing: std::fmt::Debug + Send + Sync + 'static {
    /// Every object below a path, in any order.
    fn all(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>>;

    /// One object; `None` when there is none.
    ///
    /// # Errors
    /// Those of the store.
    async fn one(&self, key: &Path) -> Result<Option<ObjectMeta>>;
}

/// A store whose answer about one object has everything that a listing has: a local folder, for one.
#[derive(Debug)]
pub struct ByHead<S>(pub S);

/// A store whose listings know more exactly than its answers about one object when that was changed:
/// S3, where the header has whole seconds. It is asked for a listing of one object.
#[derive(Debug)]
pub struct ByListing<S>(pub S);

#[async_trait]
impl<S: ObjectStore> Listing for ByHead<S> {
    fn all(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn one(&self, key: &Path) -> Result<Option<ObjectMeta>> {
        match self.0.head(key).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl<S: ObjectStore + PaginatedListStore> Listing for ByListing<S> {
    fn all(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn one(&self, key: &Path) -> Result<Option<ObjectMeta>> {
        // In the order of their bytes, the key itself comes before all that only begin with it.
        let options = PaginatedListOptions {
            max_keys: Some(1),
            ..PaginatedListOptions::default()
        };
        let listed = self.0.list_paginated(Some(key.as_ref()), options).await?;
        let mut objects = listed.result.objects.into_iter();
        Ok(objects.find(|object| object.location == *key))
    }
}
