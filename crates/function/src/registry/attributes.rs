//! What is configured of a function, one of its versions, or one of its aliases, each by itself.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Error, Registry};
use crate::{
    AsyncPolicy, PolicyStatement, ProvisionedConcurrency, QualifiedName, Qualifier, Version,
};

/// What instances do not depend on, of whatever has a qualifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What happens to asynchronous invocations that fail.
    pub asynchronous: AsyncPolicy,
    /// Statements of the resource policy, by statement id.
    pub policy: BTreeMap<String, PolicyStatement>,
    /// How many instances are kept initialised; nothing is of `$LATEST`.
    pub provisioned: Option<ProvisionedConcurrency>,
}

impl Registry {
    /// The attributes of `target` and the revision that guards them, if it exists.
    #[must_use]
    pub fn attributes(&self, target: &QualifiedName) -> Option<(Attributes, Uuid)> {
        let known = self.known.read();
        match target.meant() {
            Qualifier::Version(version) => {
                let function = known.version(&target.name, *version)?;
                let attributes = Attributes {
                    asynchronous: function.asynchronous.clone(),
                    policy: function.policy.clone(),
                    provisioned: function.provisioned,
                };
                Some((attributes, function.revision))
            }
            Qualifier::Alias(name) => {
                let alias = &known.alias(&target.name, name)?.value;
                let attributes = Attributes {
                    asynchronous: alias.asynchronous.clone(),
                    policy: alias.policy.clone(),
                    provisioned: alias.provisioned,
                };
                Some((attributes, alias.revision))
            }
        }
    }

    /// Changes the attributes of `target`; its revision stays. `expected` is the revision that the
    /// caller last saw, if it insists on it. Durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`], [`Error::UnknownQualifier`], [`Error::RevisionMismatch`],
    /// [`Error::Conflict`], [`Error::Store`].
    pub async fn update_attributes_of(
        &self,
        target: &QualifiedName,
        expected: Option<Uuid>,
        change: impl FnOnce(&mut Attributes) + Send,
    ) -> Result<(), Error> {
        let _writer = self.writer.lock().await;
        let unknown = || Error::UnknownQualifier {
            target: target.clone(),
        };
        let (mut attributes, revision) = self.attributes(target).ok_or_else(unknown)?;
        if expected.is_some_and(|expected| expected != revision) {
            return Err(Error::RevisionMismatch {
                function: target.name.clone(),
            });
        }
        change(&mut attributes);
        let Attributes {
            asynchronous,
            policy,
            provisioned,
        } = attributes;
        match target.meant() {
            Qualifier::Version(version) => {
                let before = match version {
                    Version::Latest => self.expect_function(&target.name, None)?,
                    Version::Published(_) => {
                        let known = self.known.read();
                        let kept = known.kept_version(&target.name, *version).cloned();
                        kept.ok_or_else(unknown)?
                    }
                };
                let mut function = before.value.as_ref().clone();
                function.asynchronous = asynchronous;
                function.policy = policy;
                function.provisioned = provisioned;
                self.write_function(&before, function).await?;
            }
            Qualifier::Alias(name) => {
                let before = self.expect_alias(&target.name, name, None)?;
                let mut alias = before.value.as_ref().clone();
                alias.asynchronous = asynchronous;
                alias.policy = policy;
                alias.provisioned = provisioned;
                self.write_alias(&before, alias).await?;
            }
        }
        Ok(())
    }
}
