//! Taking in what other nodes have written.

use std::collections::BTreeMap;

use super::document::Documents;
use super::{Error, Known, Registry};
use crate::{Alias, Function, LayerVersion, Trigger};

impl Registry {
    /// Looks at the store again and takes in what others have changed there: documents that are new
    /// to this process or have another version are read, those that are gone are forgotten. Says
    /// whether anything differed; [`changes`](Self::changes) then counts one more.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`]: what was known before is still what is known.
    pub async fn reread(&self) -> Result<bool, Error> {
        // Nothing of ours may be written between listing and taking over: it would be forgotten.
        let _writer = self.writer.lock().await;
        let before = self.known.read().clone();
        let now = before.clone().reread(&self.documents).await?;
        if now.is_like(&before) {
            return Ok(false);
        }
        *self.known.write() = now;
        self.changes.send_modify(|count| *count += 1);
        Ok(true)
    }
}

impl Known {
    /// What the store holds now, with as little reading as the versions allow.
    pub(super) async fn reread(self, documents: &Documents) -> Result<Self, Error> {
        let functions = self.functions.into_values().collect();
        let functions = documents
            .load_all::<Function>("functions", functions)
            .await?;
        let versions = self.versions.into_values().collect();
        let versions = documents.load_all::<Function>("versions", versions).await?;
        let aliases = self.aliases.into_values().collect();
        let aliases = documents.load_all::<Alias>("aliases", aliases).await?;
        let triggers = self.triggers.into_values().collect();
        let triggers = documents.load_all::<Trigger>("triggers", triggers).await?;
        let layers = self.layers.into_values().collect();
        let layers = documents.load_all::<LayerVersion>("layers", layers).await?;
        Ok(Self {
            layers: layers
                .into_iter()
                .map(|kept| (kept.value.id.clone(), kept))
                .collect(),
            functions: functions
                .into_iter()
                .map(|kept| (kept.value.name.clone(), kept))
                .collect(),
            versions: versions
                .into_iter()
                .map(|kept| ((kept.value.name.clone(), kept.value.version), kept))
                .collect(),
            aliases: aliases
                .into_iter()
                .map(|kept| {
                    let key = (kept.value.function.clone(), kept.value.name.clone());
                    (key, kept)
                })
                .collect(),
            triggers: triggers
                .into_iter()
                .map(|kept| (kept.value.id, kept))
                .collect(),
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        fn same<K: Ord, T: PartialEq>(
            one: &BTreeMap<K, super::Kept<T>>,
            other: &BTreeMap<K, super::Kept<T>>,
        ) -> bool {
            one.len() == other.len()
                && one.iter().all(|(key, kept)| {
                    other
                        .get(key)
                        .is_some_and(|other| kept.is_same_version(other))
                })
        }
        same(&self.functions, &other.functions)
            && same(&self.versions, &other.versions)
            && same(&self.aliases, &other.aliases)
            && same(&self.triggers, &other.triggers)
            && same(&self.layers, &other.layers)
    }
}
