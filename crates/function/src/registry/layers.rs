//! Layers of the registry.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::document::{Document as _, Kept, Written};
use super::{Error, Registry, opt};
use crate::limits::UNZIPPED_BYTES;
use crate::{Function, LayerId, LayerName, LayerVersion, NewLayerVersion};

impl Registry {
    /// The version of a layer, unless it was deleted.
    #[must_use]
    pub fn layer_version(&self, id: &LayerId) -> Option<Arc<LayerVersion>> {
        let known = self.known.read();
        let kept = known.layers.get(id)?;
        (!kept.value.deleted).then(|| Arc::clone(&kept.value))
    }

    /// Every version of every layer that was not deleted, by name and version.
    #[must_use]
    pub fn layer_versions(&self) -> Vec<Arc<LayerVersion>> {
        let known = self.known.read();
        let present = known.layers.values().filter(|kept| !kept.value.deleted);
        present.map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// Publishes the next version of a layer from a zip archive. Its content is checked, unpacked and
    /// stored before the version is visible; it is durable on return.
    ///
    /// # Errors
    /// [`Error::Package`], [`Error::Conflict`] when another node publishes the same layer, or a
    /// failure of store or cache.
    pub async fn publish_layer(
        &self,
        new: NewLayerVersion,
        archive: Bytes,
    ) -> Result<Arc<LayerVersion>, Error> {
        let _writer = self.writer.lock().await;
        let content = self.code.add(archive).await?;
        let layer = LayerVersion {
            account: new.account,
            id: LayerId {
                version: self.latest_version(&new.name) + 1,
                name: new.name,
            },
            description: new.description,
            license: new.license,
            compatible_runtimes: new.compatible_runtimes,
            compatible_architectures: new.compatible_architectures,
            content,
            created: self.clock.now(),
            deleted: false,
        };
        let path = layer.path();
        match self.documents.create(layer).await? {
            Written::Done(kept) => Ok(self.remember_layer(kept)),
            Written::Conflict => {
                if let Some(kept) = self.documents.load(&path).await? {
                    self.remember_layer(kept);
                }
                Err(Error::Conflict {
                    document: path.to_string(),
                })
            }
        }
    }

    /// Deletes a version of a layer: nobody is shown it or may begin to use it. Functions that use it
    /// go on. One that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Store`].
    pub async fn delete_layer_version(&self, id: &LayerId) -> Result<(), Error> {
        let _writer = self.writer.lock().await;
        let Some(before) = self.known.read().layers.get(id).cloned() else {
            return Ok(());
        };
        if before.value.deleted {
            return Ok(());
        }
        let mut layer = before.value.as_ref().clone();
        layer.deleted = true;
        let path = layer.path();
        match self.documents.update(&before, layer).await? {
            Written::Done(kept) => {
                let layer = self.remember_layer(kept);
                self.drop_unused_code(&layer.content).await;
                Ok(())
            }
            Written::Conflict => {
                if let Some(kept) = self.documents.load(&path).await? {
                    self.remember_layer(kept);
                }
                Err(Error::Conflict {
                    document: path.to_string(),
                })
            }
        }
    }

    /// A version's content as it was uploaded.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the stored archive is not what the version names, [`Error::Store`].
    pub async fn layer_archive(&self, layer: &LayerVersion) -> Result<Bytes, Error> {
        self.code.archive(&layer.content).await
    }

    /// The folder that a function finds at `/opt`: its layers in their order, what comes later in the
    /// place of what came before. `None` for a function without layers. It stays for as long as this
    /// registry does.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], [`Error::Damaged`], or a failure of store or cache.
    pub async fn opt_dir(&self, function: &Function) -> Result<Option<PathBuf>, Error> {
        let folders = self.layer_folders(&function.layers).await?;
        match folders.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            several => self.code.merged(several).await.map(Some),
        }
    }

    /// Refuses layers that, together with a function's own code, unpack to more than a function may
    /// have.
    pub(super) async fn check_size(&self, function: &Function) -> Result<(), Error> {
        if function.layers.is_empty() {
            return Ok(());
        }
        let mut folders = self.layer_folders(&function.layers).await?;
        folders.push(self.code.folder(&function.code).await?);
        let bytes = opt::bytes(folders).await?;
        if bytes > UNZIPPED_BYTES {
            return Err(Error::LayersTooLarge {
                function: function.name.clone(),
                bytes,
            });
        }
        Ok(())
    }

    async fn layer_folders(&self, layers: &[LayerId]) -> Result<Vec<PathBuf>, Error> {
        let mut folders = Vec::with_capacity(layers.len());
        for id in layers {
            let kept = self.known.read().layers.get(id).cloned();
            let layer = kept.ok_or_else(|| Error::UnknownLayer { layer: id.clone() })?;
            folders.push(self.code.folder(&layer.value.content).await?);
        }
        Ok(folders)
    }

    /// Refuses layers that are not there to be used, unless the function uses them already.
    pub(super) fn expect_layers(&self, wanted: &[LayerId], used: &[LayerId]) -> Result<(), Error> {
        let missing = wanted
            .iter()
            .find(|id| !used.contains(id) && self.layer_version(id).is_none());
        match missing {
            Some(id) => Err(Error::UnknownLayer { layer: id.clone() }),
            None => Ok(()),
        }
    }

    /// The highest number that was ever given, 0 for a layer that never was.
    fn latest_version(&self, name: &LayerName) -> u64 {
        let known = self.known.read();
        let versions = known.layers.keys().filter(|id| id.name == *name);
        versions.map(|id| id.version).max().unwrap_or(0)
    }

    fn remember_layer(&self, kept: Kept<LayerVersion>) -> Arc<LayerVersion> {
        let layer = Arc::clone(&kept.value);
        self.known.write().layers.insert(layer.id.clone(), kept);
        self.changed();
        layer
    }
}
