//! Published versions of the registry.
//!
//! A version's number is taken in the function's document before the version's own document is
//! written, so that none is given twice: a crash in between leaves a number without a version.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use uuid::Uuid;

use super::document::{Document as _, Written};
use super::{Error, Kept, Known, Registry};
use crate::{AsyncPolicy, Draw, Function, FunctionName, QualifiedName, Qualifier, Version};

/// What a new version is made of, beside `$LATEST`.
#[derive(Clone, Debug, Default)]
pub struct NewVersion {
    /// Free text; that of `$LATEST` where it is not given.
    pub description: Option<String>,
    /// The revision of `$LATEST` that the caller last saw, if it insists on it.
    pub expected: Option<Uuid>,
    /// The SHA-256 of the code that the caller means, base64, if it insists on it.
    pub code_sha256: Option<String>,
}

impl Registry {
    /// That version of a function, if it exists.
    #[must_use]
    pub fn version(&self, name: &FunctionName, version: Version) -> Option<Arc<Function>> {
        self.known.read().version(name, version)
    }

    /// The published versions of a function, by number.
    #[must_use]
    pub fn versions(&self, name: &FunctionName) -> Vec<Arc<Function>> {
        let known = self.known.read();
        let versions = known.versions_of(name);
        versions.map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// The published versions of all functions, by name and number.
    #[must_use]
    pub fn every_version(&self) -> Vec<Arc<Function>> {
        let known = self.known.read();
        let versions = known.versions.values();
        versions.map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// The version that runs when `target` is invoked, if it exists.
    #[must_use]
    pub fn resolve(&self, target: &QualifiedName, draw: Draw) -> Option<Arc<Function>> {
        let known = self.known.read();
        let version = match target.meant() {
            Qualifier::Version(version) => *version,
            Qualifier::Alias(alias) => known.alias(&target.name, alias)?.value.choose(draw),
        };
        known.version(&target.name, version)
    }

    /// The versions of which instances are to be kept initialised, and how many of each: what is asked
    /// for themselves and for the aliases that point at them.
    #[must_use]
    pub fn provisioned(&self) -> Vec<(Arc<Function>, u32)> {
        let known = self.known.read();
        let mut wanted: BTreeMap<(FunctionName, Version), u32> = BTreeMap::new();
        for (key, kept) in &known.versions {
            if let Some(provisioned) = kept.value.provisioned {
                *wanted.entry(key.clone()).or_default() += provisioned.executions;
            }
        }
        for kept in known.aliases.values() {
            for (version, executions) in kept.value.shares() {
                let key = (kept.value.function.clone(), version);
                *wanted.entry(key).or_default() += executions;
            }
        }
        let wanted = wanted.into_iter().filter(|(_, executions)| *executions > 0);
        wanted
            .filter_map(|((name, version), executions)| {
                Some((known.version(&name, version)?, executions))
            })
            .collect()
    }

    /// Publishes `$LATEST` as it is now as the next version; durable on return. When neither code nor
    /// configuration has changed since the last version, that one is returned.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`], [`Error::RevisionMismatch`], [`Error::CodeMismatch`],
    /// [`Error::ImagePending`], [`Error::Conflict`], [`Error::Store`].
    pub async fn publish_version(
        &self,
        name: &FunctionName,
        new: NewVersion,
    ) -> Result<Arc<Function>, Error> {
        let _writer = self.writer.lock().await;
        let latest = self.expect_function(name, new.expected)?;
        let NewVersion {
            description,
            code_sha256,
            ..
        } = new;
        if let Some(code) = &latest.value.image
            && (code.awaited().is_some() || code.running.is_none())
        {
            return Err(Error::ImagePending {
                function: name.clone(),
            });
        }
        let current = latest.value.code_sha256();
        if code_sha256.is_some_and(|given| given != current) {
            return Err(Error::CodeMismatch {
                function: name.clone(),
                current,
            });
        }
        if let Some(last) = self.last_version(&latest.value).await?
            && last.runs_like(&latest.value)
        {
            return Ok(last);
        }
        let mut numbered = latest.value.as_ref().clone();
        numbered.last_version += 1;
        let number = numbered.last_version;
        let numbered = self.write_function(&latest, numbered).await?;
        let mut version = numbered.as_ref().clone();
        version.version = Version::published(number).expect("it counts from one");
        version.last_version = 0;
        version.description = description.unwrap_or(version.description);
        version.tags.clear();
        version.reserved_concurrency = None;
        version.asynchronous = AsyncPolicy::default();
        version.policy.clear();
        version.provisioned = None;
        if let Some(code) = &mut version.image {
            code.arriving = None;
        }
        version.revision = Uuid::new_v4();
        version.last_modified = self.clock.now();
        let path = version.path();
        match self.documents.create(version).await? {
            Written::Done(kept) => Ok(self.remember_function(kept)),
            Written::Conflict => Err(Error::Conflict {
                document: path.to_string(),
            }),
        }
    }

    /// Deletes a published version, durably. Triggers that name it stay, switched off.
    ///
    /// # Errors
    /// [`Error::UnknownQualifier`], [`Error::VersionInUse`], [`Error::Store`].
    pub async fn delete_version(
        &self,
        name: &FunctionName,
        number: NonZeroU64,
    ) -> Result<(), Error> {
        let _writer = self.writer.lock().await;
        let version = Version::Published(number);
        let target = QualifiedName {
            name: name.clone(),
            qualifier: Some(Qualifier::Version(version)),
        };
        let before = self.known.read().kept_version(name, version).cloned();
        let before = before.ok_or_else(|| Error::UnknownQualifier {
            target: target.clone(),
        })?;
        let aliases = self.aliases(name);
        if let Some(alias) = aliases.iter().find(|alias| alias.points_at(version)) {
            return Err(Error::VersionInUse {
                function: name.clone(),
                version,
                alias: alias.name.clone(),
            });
        }
        self.switch_triggers_off(name, |trigger| trigger.means_the_same(&target))
            .await?;
        self.remove_version(&before).await
    }

    /// Removes a version's document and what only it needed. The caller is the writer.
    pub(super) async fn remove_version(&self, before: &Kept<Function>) -> Result<(), Error> {
        let version = &before.value;
        self.documents.delete(version.as_ref()).await?;
        let key = (version.name.clone(), version.version);
        self.known.write().versions.remove(&key);
        self.changed();
        self.drop_unused_code(&version.code).await;
        self.drop_unused_layers(version).await;
        self.drop_unused_image(version).await;
        Ok(())
    }

    /// The version that was published last, unless it was deleted. Another node may have done it a
    /// moment ago, so the store is asked for one that is not known.
    async fn last_version(&self, latest: &Function) -> Result<Option<Arc<Function>>, Error> {
        let Some(last) = Version::published(latest.last_version) else {
            return Ok(None);
        };
        if let Some(known) = self.version(&latest.name, last) {
            return Ok(Some(known));
        }
        let mut like = latest.clone();
        like.version = last;
        let found = self.documents.load(&like.path()).await?;
        Ok(found.map(|kept| self.remember_function(kept)))
    }
}

impl Known {
    pub(super) fn version(&self, name: &FunctionName, version: Version) -> Option<Arc<Function>> {
        // What an interrupted deletion has left of a function is not there.
        let latest = self.functions.get(name)?;
        match version {
            Version::Latest => Some(Arc::clone(&latest.value)),
            Version::Published(_) => self
                .kept_version(name, version)
                .map(|kept| Arc::clone(&kept.value)),
        }
    }

    pub(super) fn kept_version(
        &self,
        name: &FunctionName,
        version: Version,
    ) -> Option<&Kept<Function>> {
        self.versions.get(&(name.clone(), version))
    }

    pub(super) fn versions_of(&self, name: &FunctionName) -> impl Iterator<Item = &Kept<Function>> {
        let first = (name.clone(), Version::Latest);
        let last = (name.clone(), Version::Published(NonZeroU64::MAX));
        self.versions.range(first..=last).map(|(_, kept)| kept)
    }
}
