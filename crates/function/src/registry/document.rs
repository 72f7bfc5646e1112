//! JSON documents by conditional put.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::{Alias, Function, LayerVersion, Trigger, Version};

/// A thing that is one document.
pub(super) trait Document: Serialize + DeserializeOwned {
    /// Where it is kept.
    fn path(&self) -> Path;
}

impl Document for Function {
    fn path(&self) -> Path {
        let (account, name) = (&self.account, &self.name);
        match self.version {
            Version::Latest => Path::from(format!("functions/{account}/{name}.json")),
            Version::Published(number) => {
                Path::from(format!("versions/{account}/{name}/{number}.json"))
            }
        }
    }
}

impl Document for Alias {
    fn path(&self) -> Path {
        let (account, function) = (&self.account, &self.function);
        Path::from(format!("aliases/{account}/{function}/{}.json", self.name))
    }
}

impl Document for Trigger {
    fn path(&self) -> Path {
        Path::from(format!("triggers/{}.json", self.id))
    }
}

impl Document for LayerVersion {
    fn path(&self) -> Path {
        let (account, id) = (&self.account, &self.id);
        Path::from(format!("layers/{account}/{}/{}.json", id.name, id.version))
    }
}

/// A document as the store holds it.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    pub(super) value: Arc<T>,
    version: UpdateVersion,
}

impl<T: PartialEq> Kept<T> {
    /// Whether a change of `self` would be accepted just where one of `other` would be.
    pub(super) fn is_same_version(&self, other: &Self) -> bool {
        self.version.e_tag == other.version.e_tag
            && self.version.version == other.version.version
            && self.value == other.value
    }
}

/// What a conditional put did.
pub(super) enum Written<T> {
    /// The document is durable.
    Done(Kept<T>),
    /// Someone else's version stands there.
    Conflict,
}

/// The store as documents.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    store: Arc<dyn ObjectStore>,
}

impl Documents {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    pub(super) async fn create<T: Document>(&self, value: T) -> Result<Written<T>, Error> {
        self.put(value, PutMode::Create).await
    }

    pub(super) async fn update<T: Document>(
        &self,
        before: &Kept<T>,
        value: T,
    ) -> Result<Written<T>, Error> {
        self.put(value, PutMode::Update(before.version.clone()))
            .await
    }

    async fn put<T: Document>(&self, value: T, mode: PutMode) -> Result<Written<T>, Error> {
        let path = value.path();
        let bytes = serde_json::to_vec_pretty(&value).expect("documents have a JSON form");
        let options = PutOptions::from(mode);
        let put = self
            .store
            .put_opts(&path, PutPayload::from(bytes), options)
            .await;
        match put {
            Ok(put) => Ok(Written::Done(Kept {
                value: Arc::new(value),
                version: put.into(),
            })),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotFound { .. },
            ) => Ok(Written::Conflict),
            Err(source) => Err(store_error("write", &path, source)),
        }
    }

    /// Deletes a document; one that is gone already is no error.
    pub(super) async fn delete<T: Document>(&self, value: &T) -> Result<(), Error> {
        let path = value.path();
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error("delete", &path, source)),
        }
    }

    /// The document at the place of `like`, if it is there.
    pub(super) async fn load<T: Document>(&self, path: &Path) -> Result<Option<Kept<T>>, Error> {
        let read = |source| store_error("read", path, source);
        let found = match self.store.get(path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(read(source)),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let bytes = found.bytes().await.map_err(read)?;
        let value: T = serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
            document: path.to_string(),
            reason: error.to_string(),
        })?;
        if value.path() != *path {
            return Err(Error::Damaged {
                document: path.to_string(),
                reason: format!("it is the document of {}", value.path()),
            });
        }
        Ok(Some(Kept {
            value: Arc::new(value),
            version,
        }))
    }

    /// Every document below `folder`. Those of `known` that the store still has in that version are
    /// not read again.
    pub(super) async fn load_all<T: Document>(
        &self,
        folder: &str,
        known: Vec<Kept<T>>,
    ) -> Result<Vec<Kept<T>>, Error> {
        let folder = Path::from(folder);
        let mut known: HashMap<Path, Kept<T>> = known
            .into_iter()
            .map(|kept| (kept.value.path(), kept))
            .collect();
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| store_error("list", &folder, source))?;
        let mut documents = Vec::with_capacity(listed.len());
        for object in listed {
            match known.remove(&object.location) {
                Some(kept) if object.e_tag.is_some() && kept.version.e_tag == object.e_tag => {
                    documents.push(kept);
                }
                // One that went between listing and reading is gone.
                Some(_) | None => documents.extend(self.load(&object.location).await?),
            }
        }
        Ok(documents)
    }
}

pub(super) fn store_error(verb: &str, path: &Path, source: object_store::Error) -> Error {
    Error::Store {
        act: format!("{verb} {path} in the store"),
        source,
    }
}
