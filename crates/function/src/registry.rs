//! The registry: functions, layers and triggers, kept in an object store and known in memory.
//!
//! One JSON document per thing (`functions/<account>/<name>.json`, published versions in
//! `versions/<account>/<name>/<number>.json`, `aliases/<account>/<name>/<alias>.json`,
//! `triggers/<id>.json`, `layers/<account>/<name>/<version>.json`) and each code archive and each layer
//! of an image once (`code/<sha256>.zip`, `images/sha256/<sha256>`). Documents are written by conditional put, so that a
//! writer elsewhere is never overwritten unseen; reads are answered from memory. Where several nodes
//! share a store ([`Writers::Several`]), each must be told when to look again ([`Registry::reread`]).
//!
//! Triggers name their function without an account, so a name is unique across accounts here.
//!
//! When a function, a version or an alias is deleted its triggers stay, switched off, with [`Problem::FunctionNotFound`].
//! Creating a function of that name again switches its bucket triggers on (a bucket's notification
//! configuration outlives the function, as with AWS); mappings wait until the user enables them.
//!
//! [`Problem::FunctionNotFound`]: crate::Problem::FunctionNotFound

mod aliases;
mod attributes;
mod code;
mod document;
mod error;
mod functions;
mod images;
mod layers;
mod opt;
mod reread;
mod roots;
#[cfg(test)]
mod tests;
mod triggers;
mod versions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clock::SharedClock;
use object_store::ObjectStore;
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};

use crate::{
    Alias, AliasName, CodePackage, Function, FunctionName, LayerId, LayerVersion, Trigger,
    TriggerId, Version,
};
use code::CodeCache;
use document::{Documents, Kept};
use roots::Roots;

pub use aliases::NewAlias;
pub use attributes::Attributes;
pub use error::Error;
pub use functions::{NewCode, NewFunction};
pub use versions::NewVersion;

/// Functions and triggers. Share it in an `Arc`.
#[derive(Debug)]
pub struct Registry {
    documents: Documents,
    code: CodeCache,
    images: Roots,
    clock: SharedClock,
    known: RwLock<Known>,
    /// One writer of this process at a time, so that memory changes in the order of the store. Held
    /// across the store's write on purpose: changes of the registry are rare, and readers never
    /// wait for it.
    writer: Mutex<()>,
    changes: watch::Sender<u64>,
    written: watch::Sender<u64>,
    writers: Writers,
}

/// Who writes to the registry's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// This process and no other. A code archive that no function names any more is removed.
    Alone,
    /// Several nodes. Code archives stay: another node may be about to name one, and a store has no
    /// way to remove it under that condition.
    Several,
}

/// What the store holds, as far as this process knows.
#[derive(Clone, Debug, Default)]
struct Known {
    /// At `$LATEST`.
    functions: BTreeMap<FunctionName, Kept<Function>>,
    /// Published ones.
    versions: BTreeMap<(FunctionName, Version), Kept<Function>>,
    aliases: BTreeMap<(FunctionName, AliasName), Kept<Alias>>,
    triggers: BTreeMap<TriggerId, Kept<Trigger>>,
    layers: BTreeMap<LayerId, Kept<LayerVersion>>,
}

impl Known {
    /// Every package that something names: functions' code, layers' content.
    fn packages(&self) -> impl Iterator<Item = &CodePackage> {
        let functions = || self.functions.values().chain(self.versions.values());
        let used = move |id: &LayerId| functions().any(|kept| kept.value.layers.contains(id));
        let layers = self.layers.values().map(|kept| kept.value.as_ref());
        let layers = layers.filter(move |layer| !layer.deleted || used(&layer.id));
        let code = functions().map(|kept| &kept.value.code);
        code.chain(layers.map(|layer| &layer.content))
    }
}

impl Registry {
    /// Loads everything that `store` holds. Code is unpacked under `cache_dir`, which is a cache: it
    /// may be lost, and what no function needs any more is removed from it now. An image has
    /// `max_image_bytes` unpacked, at most.
    ///
    /// # Errors
    /// [`Error::Store`] when the store cannot be read, [`Error::Damaged`] when a document in it is
    /// not what this registry writes, [`Error::Cache`] when the folder cannot be made.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        cache_dir: impl Into<PathBuf>,
        clock: SharedClock,
        writers: Writers,
        max_image_bytes: u64,
    ) -> Result<Self, Error> {
        let documents = Documents::new(Arc::clone(&store));
        let known = Known::default().reread(&documents).await?;
        let cache = cache_dir.into();
        let code = CodeCache::open(Arc::clone(&store), cache.clone()).await?;
        let in_use = known.images().map(|image| image.digest).collect();
        let images = Roots::open(store, &cache, max_image_bytes, in_use).await?;
        code.prune(known.packages().cloned().collect()).await?;
        Ok(Self {
            documents,
            code,
            images,
            clock,
            known: RwLock::new(known),
            writer: Mutex::new(()),
            changes: watch::Sender::new(0),
            written: watch::Sender::new(0),
            writers,
        })
    }

    /// Counts the changes of functions and triggers since the registry was opened.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Counts the changes that this process has written to the store: what other nodes must hear of.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// After a change that this process has written.
    fn changed(&self) {
        self.written.send_modify(|count| *count += 1);
        self.changes.send_modify(|count| *count += 1);
    }
}
