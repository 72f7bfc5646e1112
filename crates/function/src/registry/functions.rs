//! Functions of the registry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use container_image::Image;
use uuid::Uuid;

use super::document::{Document as _, Written};
use super::{Error, Kept, Known, Registry, Writers};
use crate::{
    Arriving, AsyncPolicy, CodePackage, Function, FunctionName, ImageCode, ImageOverrides, LayerId,
    Logging, Problem, QualifiedName, TriggerSource, Version,
};

/// What a new function is made of; the rest begins at its default.
#[derive(Clone, Debug)]
pub struct NewFunction {
    /// The owning account: twelve digits.
    pub account: String,
    /// Its name.
    pub name: FunctionName,
    /// AWS's identifier of the runtime.
    pub runtime: String,
    /// What the runtime calls.
    pub handler: String,
    /// The role's ARN.
    pub role: String,
    /// Free text.
    pub description: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// `/tmp` in MiB.
    pub ephemeral_storage_mib: u32,
    /// The longest invocation in seconds.
    pub timeout_seconds: u32,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Layers, in their order.
    pub layers: Vec<LayerId>,
    /// How its log is written.
    pub logging: Logging,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// What a function is given to run.
#[derive(Clone, Debug)]
pub enum NewCode {
    /// A zip archive.
    Archive(Bytes),
    /// A container image, which is yet to be brought in.
    Image(Box<Image>, ImageOverrides),
}

impl From<Bytes> for NewCode {
    fn from(archive: Bytes) -> Self {
        Self::Archive(archive)
    }
}

impl Registry {
    /// The function of that name at `$LATEST`, if it exists.
    #[must_use]
    pub fn function(&self, name: &FunctionName) -> Option<Arc<Function>> {
        let known = self.known.read();
        known
            .functions
            .get(name)
            .map(|kept| Arc::clone(&kept.value))
    }

    /// Every function at `$LATEST`, by name.
    #[must_use]
    pub fn functions(&self) -> Vec<Arc<Function>> {
        let known = self.known.read();
        let functions = known.functions.values();
        functions.map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// Creates a function. The code in a zip archive is checked, unpacked and stored before the function is
    /// visible; one of an image waits for it ([`awaited_images`](Self::awaited_images)). It is durable on
    /// return.
    ///
    /// # Errors
    /// [`Error::FunctionExists`], [`Error::Package`], [`Error::UnknownLayer`],
    /// [`Error::LayersTooLarge`], or a failure of store or cache.
    pub async fn create_function(
        &self,
        new: NewFunction,
        code: impl Into<NewCode> + Send,
    ) -> Result<Arc<Function>, Error> {
        let code = code.into();
        let exists = Error::FunctionExists {
            function: new.name.clone(),
        };
        if self.function(&new.name).is_some() {
            return Err(exists);
        }
        let _writer = self.writer.lock().await;
        if self.function(&new.name).is_some() {
            return Err(exists);
        }
        self.expect_layers(&new.layers, &[])?;
        // Another node may have published a version while the function was being deleted.
        self.remove_versions_and_aliases(&new.name).await?;
        let (code, image) = match code {
            NewCode::Archive(archive) => (self.code.add(archive).await?, None),
            NewCode::Image(image, overrides) => {
                let image = ImageCode::pending(*image, overrides);
                (CodePackage::default(), Some(image))
            }
        };
        let function = Function {
            account: new.account,
            name: new.name,
            version: Version::Latest,
            last_version: 0,
            runtime: new.runtime,
            handler: new.handler,
            role: new.role,
            description: new.description,
            memory_mib: new.memory_mib,
            ephemeral_storage_mib: new.ephemeral_storage_mib,
            timeout_seconds: new.timeout_seconds,
            environment: new.environment,
            code,
            image,
            layers: new.layers,
            logging: new.logging,
            tags: new.tags,
            reserved_concurrency: None,
            asynchronous: AsyncPolicy::default(),
            policy: BTreeMap::new(),
            provisioned: None,
            revision: Uuid::new_v4(),
            last_modified: self.clock.now(),
        };
        self.check_size(&function).await?;
        let path = function.path();
        match self.documents.create(function).await? {
            Written::Done(kept) => {
                let function = self.remember_function(kept);
                let target = QualifiedName::unqualified(function.name.clone());
                self.revive_bucket_triggers(&target).await?;
                Ok(function)
            }
            Written::Conflict => {
                if let Some(kept) = self.documents.load(&path).await? {
                    self.remember_function(kept);
                }
                Err(exists)
            }
        }
    }

    /// Replaces a function's code with a zip archive, or has it wait for another image while the old one
    /// runs on (its overrides stay, and those given are not looked at). `expected` is the revision that the
    /// caller last saw, if it insists on it. The function gets a new revision; durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`], [`Error::RevisionMismatch`], [`Error::Package`],
    /// [`Error::OtherPackageType`], [`Error::ImagePending`], [`Error::LayersTooLarge`], [`Error::Conflict`], or a failure of store or cache.
    pub async fn update_code(
        &self,
        name: &FunctionName,
        expected: Option<Uuid>,
        code: impl Into<NewCode> + Send,
    ) -> Result<Arc<Function>, Error> {
        let code = code.into();
        let _writer = self.writer.lock().await;
        let before = self.expect_function(name, expected)?;
        let mut function = before.value.as_ref().clone();
        match (code, &mut function.image) {
            (NewCode::Archive(archive), None) => function.code = self.code.add(archive).await?,
            (NewCode::Image(image, _), Some(code)) if code.awaited().is_none() => {
                code.arriving = Some(Arriving::Pending(*image));
            }
            (NewCode::Image(..), Some(_)) => {
                let function = name.clone();
                return Err(Error::ImagePending { function });
            }
            (NewCode::Archive(_), Some(_)) | (NewCode::Image(..), None) => {
                let function = name.clone();
                return Err(Error::OtherPackageType { function });
            }
        }
        let now = self.clock.now();
        function.revision = Uuid::new_v4();
        function.last_modified = now;
        self.check_size(&function).await?;
        let function = self.write_function(&before, function).await?;
        self.drop_unused_code(&before.value.code).await;
        self.drop_unused_image(&before.value).await;
        Ok(function)
    }

    /// Changes what running instances depend on (handler, memory, environment, …): the function
    /// gets a new revision, and warm instances of the old one serve no more. Account, name and code
    /// stay, whatever `change` does to them. Durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`], [`Error::RevisionMismatch`], [`Error::UnknownLayer`],
    /// [`Error::LayersTooLarge`], [`Error::Conflict`], [`Error::Store`].
    pub async fn update_configuration(
        &self,
        name: &FunctionName,
        expected: Option<Uuid>,
        change: impl FnOnce(&mut Function) + Send,
    ) -> Result<Arc<Function>, Error> {
        let now = self.clock.now();
        self.update_function(name, expected, |function| {
            change(function);
            function.revision = Uuid::new_v4();
            function.last_modified = now;
        })
        .await
    }

    /// Changes what running instances do not depend on (concurrency, retry rules, tags, policy): the
    /// revision stays, and so do account, name and code. Durable on return.
    ///
    /// # Errors
    /// Those of [`update_configuration`](Self::update_configuration).
    pub async fn update_attributes(
        &self,
        name: &FunctionName,
        expected: Option<Uuid>,
        change: impl FnOnce(&mut Function) + Send,
    ) -> Result<Arc<Function>, Error> {
        self.update_function(name, expected, change).await
    }

    async fn update_function(
        &self,
        name: &FunctionName,
        expected: Option<Uuid>,
        change: impl FnOnce(&mut Function) + Send,
    ) -> Result<Arc<Function>, Error> {
        let _writer = self.writer.lock().await;
        let before = self.expect_function(name, expected)?;
        let mut function = before.value.as_ref().clone();
        change(&mut function);
        function.account.clone_from(&before.value.account);
        function.name = name.clone();
        function.version = Version::Latest;
        function.last_version = before.value.last_version;
        function.code.clone_from(&before.value.code);
        if let (Some(code), Some(before)) = (&mut function.image, &before.value.image) {
            code.running.clone_from(&before.running);
            code.arriving.clone_from(&before.arriving);
        }
        if function.layers != before.value.layers {
            self.expect_layers(&function.layers, &before.value.layers)?;
            self.check_size(&function).await?;
        }
        let function = self.write_function(&before, function).await?;
        self.drop_unused_layers(&before.value).await;
        Ok(function)
    }

    /// Deletes a function with all of its versions and aliases. Its triggers stay, switched off.
    /// Durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`], [`Error::Conflict`], [`Error::Store`].
    pub async fn delete_function(&self, name: &FunctionName) -> Result<(), Error> {
        let _writer = self.writer.lock().await;
        let before = self.expect_function(name, None)?;
        // Triggers first: a crash in between leaves them off and the function there, never on and
        // without a function.
        self.switch_triggers_off(name, |_| true).await?;
        self.remove_versions_and_aliases(name).await?;
        self.documents.delete(before.value.as_ref()).await?;
        self.known.write().functions.remove(name);
        self.changed();
        self.drop_unused_code(&before.value.code).await;
        self.drop_unused_layers(&before.value).await;
        self.drop_unused_image(&before.value).await;
        Ok(())
    }

    async fn remove_versions_and_aliases(&self, name: &FunctionName) -> Result<(), Error> {
        let (aliases, versions) = {
            let known = self.known.read();
            let aliases: Vec<_> = known.aliases_of(name).cloned().collect();
            let versions: Vec<_> = known.versions_of(name).cloned().collect();
            (aliases, versions)
        };
        for alias in &aliases {
            self.remove_alias(alias).await?;
        }
        for version in &versions {
            self.remove_version(version).await?;
        }
        Ok(())
    }

    /// The folder with a function's unpacked code, or the root of the image that it runs. It is unpacked
    /// when absent, once even when raced, and stays for as long as this registry does.
    ///
    /// # Errors
    /// [`Error::ImagePending`] when no image runs yet, [`Error::Damaged`] when the stored archive is not what the function names,
    /// [`Error::Package`], or a failure of store or cache.
    pub async fn code_dir(&self, function: &Function) -> Result<PathBuf, Error> {
        match &function.image {
            None => self.code.folder(&function.code).await,
            Some(code) => match &code.running {
                Some(image) => self.images.root(image).await,
                None => Err(Error::ImagePending {
                    function: function.name.clone(),
                }),
            },
        }
    }

    /// A function's code as it was uploaded.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the stored archive is not what the function names, [`Error::Store`].
    pub async fn archive(&self, function: &Function) -> Result<Bytes, Error> {
        self.code.archive(&function.code).await
    }

    pub(super) fn expect_function(
        &self,
        name: &FunctionName,
        expected: Option<Uuid>,
    ) -> Result<Kept<Function>, Error> {
        let kept = self.known.read().functions.get(name).cloned();
        let kept = kept.ok_or_else(|| Error::UnknownFunction {
            function: name.clone(),
        })?;
        if expected.is_some_and(|expected| expected != kept.value.revision) {
            return Err(Error::RevisionMismatch {
                function: name.clone(),
            });
        }
        Ok(kept)
    }

    pub(super) async fn write_function(
        &self,
        before: &Kept<Function>,
        function: Function,
    ) -> Result<Arc<Function>, Error> {
        let path = function.path();
        match self.documents.update(before, function).await? {
            Written::Done(kept) => Ok(self.remember_function(kept)),
            Written::Conflict => {
                match self.documents.load(&path).await? {
                    Some(kept) => drop(self.remember_function(kept)),
                    None => {
                        self.known.write().forget(&before.value);
                        self.changed();
                    }
                }
                Err(Error::Conflict {
                    document: path.to_string(),
                })
            }
        }
    }

    pub(super) fn remember_function(&self, kept: Kept<Function>) -> Arc<Function> {
        let function = Arc::clone(&kept.value);
        self.known.write().keep(kept);
        self.changed();
        function
    }

    /// Removes deleted layers' archives that only `before` has named.
    pub(super) async fn drop_unused_layers(&self, before: &Function) {
        for id in &before.layers {
            let kept = self.known.read().layers.get(id).cloned();
            if let Some(kept) = kept {
                self.drop_unused_code(&kept.value.content).await;
            }
        }
    }

    /// Removes an archive that nothing names any more. A failure leaves garbage and nothing worse,
    /// so it is only reported.
    pub(super) async fn drop_unused_code(&self, code: &CodePackage) {
        let in_use = self.known.read().packages().any(|package| package == code);
        if self.writers == Writers::Several || in_use {
            return;
        }
        if let Err(error) = self.code.remove(code).await {
            tracing::warn!(sha256 = code.sha256, %error, "an unused code archive stays");
        }
    }

    pub(super) async fn revive_bucket_triggers(&self, target: &QualifiedName) -> Result<(), Error> {
        self.change_triggers_of(&target.name, |trigger| {
            let bucket = matches!(trigger.source, TriggerSource::Bucket { .. });
            let revived = bucket && trigger.target().means_the_same(target);
            if revived && trigger.problem.take().is_some() {
                trigger.enabled = true;
            }
        })
        .await
    }

    /// Switches the triggers of a function off whose targets are `gone`.
    pub(super) async fn switch_triggers_off(
        &self,
        name: &FunctionName,
        gone: impl Fn(&QualifiedName) -> bool + Send,
    ) -> Result<(), Error> {
        self.change_triggers_of(name, move |trigger| {
            // One that the user had switched off stays off when the function comes back.
            if trigger.enabled && gone(&trigger.target()) {
                trigger.enabled = false;
                trigger.problem = Some(Problem::FunctionNotFound);
            }
        })
        .await
    }
}

impl Known {
    /// Puts a version, `$LATEST` included, in its place.
    pub(super) fn keep(&mut self, kept: Kept<Function>) {
        let (name, version) = (kept.value.name.clone(), kept.value.version);
        match version {
            Version::Latest => drop(self.functions.insert(name, kept)),
            Version::Published(_) => drop(self.versions.insert((name, version), kept)),
        }
    }

    fn forget(&mut self, function: &Function) {
        match function.version {
            Version::Latest => drop(self.functions.remove(&function.name)),
            Version::Published(_) => {
                let key = (function.name.clone(), function.version);
                drop(self.versions.remove(&key));
            }
        }
    }
}
