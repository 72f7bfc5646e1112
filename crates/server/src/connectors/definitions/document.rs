//! One JSON document for each connector, by conditional put.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Connector, DefinitionError, Origin, Standing};
use crate::connectors::{ConnectorName, Definition, Settings};

/// What the store keeps of a connector.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) name: ConnectorName,
    pub(super) standing: Standing,
    pub(super) revision: Uuid,
    /// Absent for one that the configuration declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) added: Option<Added>,
}

/// What a command has added.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Added {
    pub(super) id: Uuid,
    pub(super) settings: Settings,
}

/// A document as the store holds it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) document: Document,
    version: UpdateVersion,
}

/// The store as documents.
#[derive(Clone, Debug)]
pub(super) struct Documents(pub(super) Arc<dyn ObjectStore>);

impl Documents {
    /// Every document, by name.
    pub(super) async fn all(&self) -> Result<BTreeMap<ConnectorName, Kept>, DefinitionError> {
        let folder = Path::from("connectors");
        let listed: Vec<_> = self
            .0
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| store_error("list", &folder, source))?;
        let mut all = BTreeMap::new();
        for object in listed {
            if let Some(kept) = self.load(&object.location).await? {
                all.insert(kept.document.name.clone(), kept);
            }
        }
        Ok(all)
    }

    async fn load(&self, path: &Path) -> Result<Option<Kept>, DefinitionError> {
        let found = match self.0.get(path).await {
            Ok(found) => found,
            // It went between listing and reading.
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(store_error("read", path, source)),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let bytes = found.bytes().await;
        let bytes = bytes.map_err(|source| store_error("read", path, source))?;
        let document = serde_json::from_slice(&bytes);
        let document = document.map_err(|source| DefinitionError::Damaged {
            document: path.clone(),
            source,
        })?;
        Ok(Some(Kept { document, version }))
    }

    /// Writes a document, durably, where `before` stands; where nothing stands without it.
    pub(super) async fn write(
        &self,
        document: Document,
        before: Option<Kept>,
    ) -> Result<Kept, DefinitionError> {
        let path = path(&document.name);
        let bytes = serde_json::to_vec_pretty(&document).expect("a document has a JSON form");
        let mode = match before {
            Some(kept) => PutMode::Update(kept.version),
            None => PutMode::Create,
        };
        let options = PutOptions::from(mode);
        let put = self
            .0
            .put_opts(&path, PutPayload::from(bytes), options)
            .await;
        match put {
            Ok(put) => Ok(Kept {
                document,
                version: put.into(),
            }),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotFound { .. },
            ) => Err(DefinitionError::Conflict {
                name: document.name,
            }),
            Err(source) => Err(store_error("write", &path, source)),
        }
    }

    /// Deletes a document, durably. One that is gone already is no error.
    pub(super) async fn delete(&self, name: &ConnectorName) -> Result<(), DefinitionError> {
        let path = path(name);
        match self.0.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error("delete", &path, source)),
        }
    }
}

impl Document {
    /// The connector, when it was added.
    pub(super) fn connector(&self) -> Option<Connector> {
        let added = self.added.clone()?;
        Some(Connector {
            definition: Definition {
                name: self.name.clone(),
                settings: added.settings,
            },
            origin: Origin::Added(added.id),
            standing: self.standing,
            revision: self.revision,
        })
    }
}

fn path(name: &ConnectorName) -> Path {
    Path::from(format!("connectors/{name}.json"))
}

fn store_error(verb: &str, path: &Path, source: object_store::Error) -> DefinitionError {
    DefinitionError::Store {
        act: format!("{verb} {path} in the store"),
        source,
    }
}
