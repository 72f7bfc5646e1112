//! The connectors that there are: those of the configuration, and those kept in the store.
//!
//! One JSON document each, `connectors/<name>.json`, written by conditional put and durable before an
//! answer. A declared connector has one only once it was paused or resumed. Reads are answered from
//! memory; where nodes share the store, each is told when to look again.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use super::definition::refuse_shared_topics;
use super::kind::Topics;
use super::{ConnectorName, Definition, Settings};

/// A connector as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Connector {
    pub(crate) definition: Definition,
    pub(crate) origin: Origin,
    pub(crate) standing: Standing,
    /// Changes whenever its user does something to it.
    pub(crate) revision: Uuid,
}

/// Where a connector comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The configuration file.
    Declared,
    /// A command. One that is removed and added again is another one, and begins anew.
    Added(Uuid),
}

/// What its user wants of a connector.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// To read.
    Running,
    /// To stand still.
    Paused,
    /// To be gone, once what it made at the source is.
    Removing,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionError {
    #[error("there is a connector {name} already")]
    Exists { name: ConnectorName },
    #[error("there is no connector {name}: `tidemill connector list` shows those that there are")]
    Unknown { name: ConnectorName },
    #[error(
        "connector {name} is declared in the configuration file: remove it from [[connectors]] there and restart the server"
    )]
    Declared { name: ConnectorName },
    #[error("connector {name} is being removed")]
    Removing { name: ConnectorName },
    #[error("connector {name} was changed by somebody else at the same time: try again")]
    Conflict { name: ConnectorName },
    #[error("{0:#}")]
    Refused(anyhow::Error),
    #[error("{act}")]
    Store {
        act: String,
        #[source]
        source: object_store::Error,
    },
    #[error("{document} in the store is damaged")]
    Damaged {
        document: Path,
        #[source]
        source: serde_json::Error,
    },
}

/// All of them. Share it in an `Arc`.
#[derive(Debug)]
pub(crate) struct Definitions {
    store: Arc<dyn ObjectStore>,
    declared: BTreeMap<ConnectorName, Settings>,
    kept: RwLock<BTreeMap<ConnectorName, Kept>>,
    /// One writer of this process at a time. Held across the store's write on purpose: changes are
    /// rare, and readers never wait for it.
    writer: Mutex<()>,
    changes: watch::Sender<u64>,
    written: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Kept {
    document: Document,
    version: UpdateVersion,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: ConnectorName,
    standing: Standing,
    revision: Uuid,
    /// Absent for one that the configuration declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    added: Option<Added>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Added {
    id: Uuid,
    settings: Settings,
}

impl Definitions {
    /// Reads what the store keeps.
    ///
    /// # Errors
    /// The store cannot be read, or one that was added has the name of one that is declared.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        declared: Vec<Definition>,
    ) -> Result<Self, DefinitionError> {
        let declared: BTreeMap<_, _> = declared
            .into_iter()
            .map(|definition| (definition.name, definition.settings))
            .collect();
        let definitions = Self {
            store,
            declared,
            kept: RwLock::default(),
            writer: Mutex::new(()),
            changes: watch::Sender::new(0),
            written: watch::Sender::new(0),
        };
        definitions.reread().await?;
        let kept = definitions.kept.read();
        let both = kept
            .values()
            .map(|kept| &kept.document)
            .find(|it| it.added.is_some() && definitions.declared.contains_key(&it.name));
        match both {
            Some(document) => Err(DefinitionError::Refused(anyhow::anyhow!(
                "connector {} was added by command and is declared in [[connectors]], too: give the declared one another name, or start without it and remove the other one",
                document.name
            ))),
            None => {
                drop(kept);
                Ok(definitions)
            }
        }
    }

    /// Every connector, by name.
    pub(crate) fn all(&self) -> Vec<Connector> {
        let kept = self.kept.read();
        let declared = self.declared.iter().map(|(name, settings)| {
            let document = kept.get(name).map(|kept| &kept.document);
            Connector {
                definition: Definition {
                    name: name.clone(),
                    settings: settings.clone(),
                },
                origin: Origin::Declared,
                standing: document.map_or(Standing::Running, |document| document.standing),
                revision: document.map_or(Uuid::nil(), |document| document.revision),
            }
        });
        let mut all: Vec<_> = declared
            .chain(kept.values().filter_map(|kept| kept.document.connector()))
            .collect();
        all.sort_by(|one, other| one.definition.name.cmp(&other.definition.name));
        all
    }

    /// The connector of that name.
    ///
    /// # Errors
    /// [`DefinitionError::Unknown`].
    pub(crate) fn get(&self, name: &ConnectorName) -> Result<Connector, DefinitionError> {
        let found = self
            .all()
            .into_iter()
            .find(|it| it.definition.name == *name);
        found.ok_or_else(|| DefinitionError::Unknown { name: name.clone() })
    }

    /// Whether a connector reads a bucket of that name at another store.
    pub(crate) fn watch_bucket(&self, bucket: &str) -> bool {
        let topics = Topics::OfBucket(bucket.to_owned());
        self.all().iter().any(|connector| {
            let Definition { name, settings } = &connector.definition;
            settings.as_kind().topics(name) == topics
        })
    }

    /// Counts the changes since this was opened.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Counts the changes that this process has written: what other nodes must hear of.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Adds a connector, durably.
    ///
    /// # Errors
    /// It is refused, or exists, or the store fails.
    pub(crate) async fn add(&self, definition: Definition) -> Result<(), DefinitionError> {
        definition.check().map_err(DefinitionError::Refused)?;
        let _writer = self.writer.lock().await;
        for other in self.all() {
            refuse_shared_topics(&definition, &other.definition)
                .map_err(DefinitionError::Refused)?;
        }
        let Definition { name, settings } = definition;
        if self.get(&name).is_ok() {
            return Err(DefinitionError::Exists { name });
        }
        let document = Document {
            name: name.clone(),
            standing: Standing::Running,
            revision: Uuid::new_v4(),
            added: Some(Added {
                id: Uuid::new_v4(),
                settings,
            }),
        };
        match self.write(document, PutMode::Create).await {
            // Another node was quicker.
            Err(DefinitionError::Conflict { .. }) => Err(DefinitionError::Exists { name }),
            other => other,
        }
    }

    /// Says what is wanted of a connector, durably; the same again starts it anew.
    ///
    /// # Errors
    /// There is none of that name, it is being removed, or the store fails.
    pub(crate) async fn set_standing(
        &self,
        name: &ConnectorName,
        standing: Standing,
    ) -> Result<(), DefinitionError> {
        let _writer = self.writer.lock().await;
        let connector = self.get(name)?;
        match (connector.origin, connector.standing, standing) {
            (Origin::Declared, _, Standing::Removing) => {
                return Err(DefinitionError::Declared { name: name.clone() });
            }
            (_, Standing::Removing, Standing::Running | Standing::Paused) => {
                return Err(DefinitionError::Removing { name: name.clone() });
            }
            (Origin::Declared | Origin::Added(_), _, _) => {}
        }
        let kept = self.kept.read().get(name).cloned();
        let (mut document, mode) = match kept {
            Some(kept) => (kept.document, PutMode::Update(kept.version)),
            None => {
                let document = Document {
                    name: name.clone(),
                    standing,
                    revision: Uuid::nil(),
                    added: None,
                };
                (document, PutMode::Create)
            }
        };
        document.standing = standing;
        document.revision = Uuid::new_v4();
        self.write(document, mode).await
    }

    /// Forgets a connector that was added, durably. One that is gone already is no error.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn forget(&self, name: &ConnectorName) -> Result<(), DefinitionError> {
        let _writer = self.writer.lock().await;
        let path = path(name);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(store_error("delete", &path, source)),
        }
        self.kept.write().remove(name);
        self.changed();
        Ok(())
    }

    /// Looks at the store again and takes in what others have changed.
    ///
    /// # Errors
    /// The store cannot be read, or a document is damaged: what was known stays known.
    pub(crate) async fn reread(&self) -> Result<(), DefinitionError> {
        let _writer = self.writer.lock().await;
        let folder = Path::from("connectors");
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| store_error("list", &folder, source))?;
        let mut now = BTreeMap::new();
        for object in listed {
            if let Some(kept) = self.load(&object.location).await? {
                now.insert(kept.document.name.clone(), kept);
            }
        }
        let mut kept = self.kept.write();
        let documents = |of: &BTreeMap<ConnectorName, Kept>| -> Vec<Document> {
            of.values().map(|kept| kept.document.clone()).collect()
        };
        let differs = documents(&kept) != documents(&now);
        *kept = now;
        drop(kept);
        if differs {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    async fn load(&self, path: &Path) -> Result<Option<Kept>, DefinitionError> {
        let found = match self.store.get(path).await {
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

    async fn write(&self, document: Document, mode: PutMode) -> Result<(), DefinitionError> {
        let path = path(&document.name);
        let bytes = serde_json::to_vec_pretty(&document).expect("a document has a JSON form");
        let options = PutOptions::from(mode);
        let put = self.store.put_opts(&path, PutPayload::from(bytes), options);
        let version = match put.await {
            Ok(put) => put.into(),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotFound { .. },
            ) => {
                return Err(DefinitionError::Conflict {
                    name: document.name,
                });
            }
            Err(source) => return Err(store_error("write", &path, source)),
        };
        let name = document.name.clone();
        self.kept.write().insert(name, Kept { document, version });
        self.changed();
        Ok(())
    }

    fn changed(&self) {
        self.written.send_modify(|count| *count += 1);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Document {
    /// The connector, when it was added.
    fn connector(&self) -> Option<Connector> {
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

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn definition(name: &str) -> Definition {
        let settings = serde_json::json!({"name": name, "kind": "postgres",
            "url": "postgres://ada@db/shop", "tables": ["orders"]});
        serde_json::from_value(settings).unwrap()
    }

    fn standing(definitions: &Definitions, name: &str) -> Standing {
        definitions.get(&name.parse().unwrap()).unwrap().standing
    }

    #[tokio::test]
    async fn what_was_added_and_paused_is_there_after_a_restart() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let declared = || vec![definition("declared")];
        let before = Definitions::open(store.clone(), declared()).await.unwrap();
        before.add(definition("added")).await.unwrap();
        for name in ["added", "declared"] {
            let name = name.parse().unwrap();
            before.set_standing(&name, Standing::Paused).await.unwrap();
        }
        let after = Definitions::open(store, declared()).await.unwrap();
        assert_eq!(after.all(), before.all());
        assert_eq!(standing(&after, "added"), Standing::Paused);
        assert_eq!(standing(&after, "declared"), Standing::Paused);
    }

    #[tokio::test]
    async fn a_node_hears_of_what_another_one_did_and_overwrites_nothing_unseen() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let one = Definitions::open(store.clone(), vec![]).await.unwrap();
        let other = Definitions::open(store, vec![]).await.unwrap();
        one.add(definition("shop")).await.unwrap();
        let added = other.add(definition("shop")).await;
        assert!(
            matches!(added, Err(DefinitionError::Exists { .. })),
            "{added:?}"
        );
        other.reread().await.unwrap();
        assert_eq!(one.all(), other.all());
        let name = "shop".parse().unwrap();
        one.set_standing(&name, Standing::Paused).await.unwrap();
        let stale = other.set_standing(&name, Standing::Running).await;
        assert!(
            matches!(stale, Err(DefinitionError::Conflict { .. })),
            "{stale:?}"
        );
    }

    #[tokio::test]
    async fn a_name_that_was_added_and_is_declared_is_refused_at_the_start() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let before = Definitions::open(store.clone(), vec![]).await.unwrap();
        before.add(definition("shop")).await.unwrap();
        let both = Definitions::open(store, vec![definition("shop")]).await;
        let refused = both.unwrap_err().to_string();
        assert!(refused.contains("connector shop was added"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_declared_cannot_be_removed_and_what_is_going_cannot_be_resumed() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let definitions = Definitions::open(store, vec![definition("declared")])
            .await
            .unwrap();
        let declared = "declared".parse().unwrap();
        let refused = definitions
            .set_standing(&declared, Standing::Removing)
            .await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("declared in the configuration file"),
            "{refused}"
        );
        definitions.add(definition("added")).await.unwrap();
        let added = "added".parse().unwrap();
        definitions
            .set_standing(&added, Standing::Removing)
            .await
            .unwrap();
        let refused = definitions.set_standing(&added, Standing::Running).await;
        assert!(
            matches!(refused, Err(DefinitionError::Removing { .. })),
            "{refused:?}"
        );
        definitions.forget(&added).await.unwrap();
        let gone = definitions.get(&added);
        assert!(
            matches!(gone, Err(DefinitionError::Unknown { .. })),
            "{gone:?}"
        );
    }
}
