//! What the dispatcher needs to know of functions and triggers.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use function::{AsyncPolicy, Draw, Function, FunctionName, QualifiedName, Registry, Trigger};
use tokio::sync::watch;

/// What instances of a function are shown.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The unpacked package, or the root of the image.
    pub code: PathBuf,
    /// The layers, merged; `None` for a function without.
    pub opt: Option<PathBuf>,
}

/// The registry as the dispatcher sees it. Lookups answer from memory.
#[async_trait]
pub trait Functions: Send + Sync + std::fmt::Debug + 'static {
    /// The function of that name at `$LATEST`.
    fn function(&self, name: &FunctionName) -> Option<Arc<Function>>;

    /// Every function at `$LATEST`, in any order.
    fn functions(&self) -> Vec<Arc<Function>>;

    /// The published versions of all functions, in any order.
    fn versions(&self) -> Vec<Arc<Function>>;

    /// The versions of which instances are to be kept initialised, and how many of each.
    fn provisioned(&self) -> Vec<(Arc<Function>, u32)>;

    /// The version that runs when `target` is invoked; `draw` decides where an alias has two.
    fn resolve(&self, target: &QualifiedName, draw: Draw) -> Option<Arc<Function>>;

    /// What happens to asynchronous invocations of `target` that fail.
    fn async_policy(&self, target: &QualifiedName) -> Option<AsyncPolicy>;

    /// Every trigger, enabled or not, in any order.
    fn triggers(&self) -> Vec<Arc<Trigger>>;

    /// Changes after a function or a trigger was created, changed or deleted; the lookups above
    /// show the change from then on.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Where the function's unpacked code and layers are. The folders stay for as long as an instance
    /// of this revision may live.
    ///
    /// # Errors
    /// When they cannot be fetched or unpacked; trying again may help.
    async fn folders(
        &self,
        function: &Function,
    ) -> Result<Folders, Box<dyn std::error::Error + Send + Sync>>;
}

#[async_trait]
impl Functions for Registry {
    fn function(&self, name: &FunctionName) -> Option<Arc<Function>> {
        Registry::function(self, name)
    }

    fn functions(&self) -> Vec<Arc<Function>> {
        Registry::functions(self)
    }

    fn versions(&self) -> Vec<Arc<Function>> {
        self.every_version()
    }

    fn provisioned(&self) -> Vec<(Arc<Function>, u32)> {
        Registry::provisioned(self)
    }

    fn resolve(&self, target: &QualifiedName, draw: Draw) -> Option<Arc<Function>> {
        Registry::resolve(self, target, draw)
    }

    fn async_policy(&self, target: &QualifiedName) -> Option<AsyncPolicy> {
        let (attributes, _) = self.attributes(target)?;
        Some(attributes.asynchronous)
    }

    fn triggers(&self) -> Vec<Arc<Trigger>> {
        Registry::triggers(self)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Registry::changes(self)
    }

    async fn folders(
        &self,
        function: &Function,
    ) -> Result<Folders, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Folders {
            code: self.code_dir(function).await?,
            opt: self.opt_dir(function).await?,
        })
    }
}
