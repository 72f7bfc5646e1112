//! Aliases of the registry.

use std::sync::Arc;

use uuid::Uuid;

use super::document::{Document as _, Written};
use super::{Error, Kept, Known, Registry};
use crate::{
    AdditionalVersion, Alias, AliasName, AsyncPolicy, FunctionName, QualifiedName, Qualifier,
    Version,
};

/// What a new alias is made of.
#[derive(Clone, Debug)]
pub struct NewAlias {
    /// The function.
    pub function: FunctionName,
    /// Its name.
    pub name: AliasName,
    /// The version that it points at.
    pub version: Version,
    /// Another version that takes a part of the invocations.
    pub additional: Option<AdditionalVersion>,
    /// Free text.
    pub description: String,
}

impl Registry {
    /// That alias of a function, if it exists.
    #[must_use]
    pub fn alias(&self, function: &FunctionName, alias: &AliasName) -> Option<Arc<Alias>> {
        let known = self.known.read();
        let kept = known.alias(function, alias)?;
        Some(Arc::clone(&kept.value))
    }

    /// The aliases of a function, by name.
    #[must_use]
    pub fn aliases(&self, function: &FunctionName) -> Vec<Arc<Alias>> {
        let known = self.known.read();
        let aliases = known.aliases_of(function);
        aliases.map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// Creates an alias; durable on return. Bucket triggers that name it are switched on again.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`], [`Error::UnknownQualifier`] when it would point at a version that
    /// does not exist, [`Error::AliasExists`], [`Error::Store`].
    pub async fn create_alias(&self, new: NewAlias) -> Result<Arc<Alias>, Error> {
        let _writer = self.writer.lock().await;
        let function = self.expect_function(&new.function, None)?;
        let alias = Alias {
            account: function.value.account.clone(),
            function: new.function,
            name: new.name,
            version: new.version,
            additional: new.additional,
            description: new.description,
            asynchronous: AsyncPolicy::default(),
            policy: std::collections::BTreeMap::new(),
            provisioned: None,
            revision: Uuid::new_v4(),
        };
        self.expect_versions(&alias)?;
        let exists = Error::AliasExists {
            function: alias.function.clone(),
            alias: alias.name.clone(),
        };
        let (path, target) = (alias.path(), target(&alias));
        match self.documents.create(alias).await? {
            Written::Done(kept) => {
                let alias = self.remember_alias(kept);
                self.revive_bucket_triggers(&target).await?;
                Ok(alias)
            }
            Written::Conflict => {
                if let Some(kept) = self.documents.load(&path).await? {
                    self.remember_alias(kept);
                }
                Err(exists)
            }
        }
    }

    /// Points an alias elsewhere or describes it anew; account, function and name stay. `expected` is
    /// the revision that the caller last saw, if it insists on it. Durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownQualifier`], [`Error::RevisionMismatch`], [`Error::Conflict`],
    /// [`Error::Store`].
    pub async fn update_alias(
        &self,
        function: &FunctionName,
        name: &AliasName,
        expected: Option<Uuid>,
        change: impl FnOnce(&mut Alias) + Send,
    ) -> Result<Arc<Alias>, Error> {
        let _writer = self.writer.lock().await;
        let before = self.expect_alias(function, name, expected)?;
        let mut alias = before.value.as_ref().clone();
        change(&mut alias);
        self.expect_versions(&alias)?;
        alias.revision = Uuid::new_v4();
        self.write_alias(&before, alias).await
    }

    /// Deletes an alias, durably; one that is not there is no error. Triggers that name it stay,
    /// switched off.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Store`].
    pub async fn delete_alias(
        &self,
        function: &FunctionName,
        name: &AliasName,
    ) -> Result<(), Error> {
        let _writer = self.writer.lock().await;
        let Ok(before) = self.expect_alias(function, name, None) else {
            return Ok(());
        };
        let target = target(&before.value);
        self.switch_triggers_off(function, |trigger| trigger.means_the_same(&target))
            .await?;
        self.remove_alias(&before).await
    }

    pub(super) async fn remove_alias(&self, before: &Kept<Alias>) -> Result<(), Error> {
        let alias = &before.value;
        self.documents.delete(alias.as_ref()).await?;
        let key = (alias.function.clone(), alias.name.clone());
        self.known.write().aliases.remove(&key);
        self.changed();
        Ok(())
    }

    pub(super) fn expect_alias(
        &self,
        function: &FunctionName,
        name: &AliasName,
        expected: Option<Uuid>,
    ) -> Result<Kept<Alias>, Error> {
        let kept = self.known.read().alias(function, name).cloned();
        let kept = kept.ok_or_else(|| Error::UnknownQualifier {
            target: QualifiedName {
                name: function.clone(),
                qualifier: Some(Qualifier::Alias(name.clone())),
            },
        })?;
        if expected.is_some_and(|expected| expected != kept.value.revision) {
            return Err(Error::RevisionMismatch {
                function: function.clone(),
            });
        }
        Ok(kept)
    }

    pub(super) async fn write_alias(
        &self,
        before: &Kept<Alias>,
        mut alias: Alias,
    ) -> Result<Arc<Alias>, Error> {
        alias.account.clone_from(&before.value.account);
        alias.function = before.value.function.clone();
        alias.name = before.value.name.clone();
        let path = alias.path();
        match self.documents.update(before, alias).await? {
            Written::Done(kept) => Ok(self.remember_alias(kept)),
            Written::Conflict => {
                match self.documents.load(&path).await? {
                    Some(kept) => drop(self.remember_alias(kept)),
                    None => {
                        let key = (before.value.function.clone(), before.value.name.clone());
                        self.known.write().aliases.remove(&key);
                        self.changed();
                    }
                }
                Err(Error::Conflict {
                    document: path.to_string(),
                })
            }
        }
    }

    fn expect_versions(&self, alias: &Alias) -> Result<(), Error> {
        let additional = alias.additional.map(|additional| additional.version);
        for version in [Some(alias.version), additional].into_iter().flatten() {
            if self.version(&alias.function, version).is_none() {
                return Err(Error::UnknownQualifier {
                    target: QualifiedName {
                        name: alias.function.clone(),
                        qualifier: Some(Qualifier::Version(version)),
                    },
                });
            }
        }
        Ok(())
    }

    fn remember_alias(&self, kept: Kept<Alias>) -> Arc<Alias> {
        let alias = Arc::clone(&kept.value);
        let key = (alias.function.clone(), alias.name.clone());
        self.known.write().aliases.insert(key, kept);
        self.changed();
        alias
    }
}

impl Known {
    pub(super) fn alias(&self, function: &FunctionName, name: &AliasName) -> Option<&Kept<Alias>> {
        self.aliases.get(&(function.clone(), name.clone()))
    }

    pub(super) fn aliases_of(&self, function: &FunctionName) -> impl Iterator<Item = &Kept<Alias>> {
        let aliases = self.aliases.values();
        aliases.filter(move |kept| kept.value.function == *function)
    }
}

fn target(alias: &Alias) -> QualifiedName {
    QualifiedName {
        name: alias.function.clone(),
        qualifier: Some(Qualifier::Alias(alias.name.clone())),
    }
}
