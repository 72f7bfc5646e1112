//! What the dispatcher needs to know of functions and triggers.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use function::{Function, FunctionName, Registry, Trigger};
use tokio::sync::watch;

/// What instances of a function are shown.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The unpacked package.
    pub code: PathBuf,
    /// The layers, merged; `None` for a function without.
    pub opt: Option<PathBuf>,
}

/// The registry as the dispatcher sees it. Lookups answer from memory.
#[async_trait]
pub trait Functions: Send + Sync + std::fmt::Debug + 'static {
    /// The function of that name.
    fn function(&self, name: &FunctionName) -> Option<Arc<Function>>;

    /// Every function, in any order.
    fn functions(&self) -> Vec<Arc<Function>>;

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
