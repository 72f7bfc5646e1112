//! The connectors that there are: those of the configuration, and those kept in the store.
//!
//! One JSON document each, `connectors/<name>.json`, written by conditional put and durable before an
//! answer. A declared connector has one only once it was paused or resumed. Reads are answered from
//! memory; where nodes share the store, each is told when to look again.

mod document;
mod error;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use super::definition::refuse_shared_topics;
use super::kind::Topics;
use super::{ConnectorName, Definition, Settings};
use document::{Added, Document, Documents, Kept};

pub(super) use error::DefinitionError;

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

/// All of them. Share it in an `Arc`.
#[derive(Debug)]
pub(crate) struct Definitions {
    documents: Documents,
    declared: BTreeMap<ConnectorName, Settings>,
    kept: RwLock<BTreeMap<ConnectorName, Kept>>,
    /// One writer of this process at a time. Held across the store's write on purpose: changes are
    /// rare, and readers never wait for it.
    writer: Mutex<()>,
    changes: watch::Sender<u64>,
    written: watch::Sender<u64>,
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
            documents: Documents(store),
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
        // One of that name may have been declared, and paused, before.
        match self.write(document, self.kept(&name)).await {
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
        let before = self.kept(name);
        let mut document = match &before {
            Some(kept) => kept.document.clone(),
            None => Document {
                name: name.clone(),
                standing,
                revision: Uuid::nil(),
                added: None,
            },
        };
        document.standing = standing;
        document.revision = Uuid::new_v4();
        self.write(document, before).await
    }

    /// Forgets a connector that was added, durably. One that is gone already is no error.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn forget(&self, name: &ConnectorName) -> Result<(), DefinitionError> {
        let _writer = self.writer.lock().await;
        self.documents.delete(name).await?;
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
        let now = self.documents.all().await?;
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

    async fn write(&self, document: Document, before: Option<Kept>) -> Result<(), DefinitionError> {
        let kept = self.documents.write(document, before).await?;
        let name = kept.document.name.clone();
        self.kept.write().insert(name, kept);
        self.changed();
        Ok(())
    }

    fn kept(&self, name: &ConnectorName) -> Option<Kept> {
        self.kept.read().get(name).cloned()
    }

    fn changed(&self) {
        self.written.send_modify(|count| *count += 1);
        self.changes.send_modify(|count| *count += 1);
    }
}
