//! A module that a worker has loaded, for as long as anybody may run it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::artifact::Package;
use super::protocol::Order;
use super::worker::{Link, Worker};
use super::{WasmLauncher, start};
use crate::environment::{self, owned};
use crate::{LaunchError, Spec};

/// Variables that would let a function act for its account: without a network it has no use for them.
const CREDENTIALS: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// One revision's module. Dropping it has the worker forget it.
pub(super) struct Module {
    number: u32,
    link: Arc<Link>,
    loaded: OnceCell<()>,
}

impl Module {
    pub(super) fn new(number: u32, link: Arc<Link>) -> Self {
        Self {
            number,
            link,
            loaded: OnceCell::new(),
        }
    }

    /// Its name for the worker.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Has the worker load it, compiled before if it has not been yet. Returns how long the worker took
    /// to load it, if this call was the one that had it done.
    pub(super) async fn ready(
        &self,
        spec: &Spec,
        worker: &Worker,
        launcher: &WasmLauncher,
    ) -> Result<Option<Duration>, LaunchError> {
        let mut took = None;
        let load = async {
            let package = Package::of(spec);
            let artifacts = &launcher.artifacts;
            let artifact = artifacts.of(&package, worker.engine(), launcher).await?;
            let gone = || start(spec, std::io::Error::other("the worker has ended"));
            let begun = launcher.clock.monotonic();
            let answer = self.link.loaded(self.number).ok_or_else(gone)?;
            self.link.send(&Order::Load {
                module: self.number,
                artifact,
                memory: u64::from(spec.memory_mib) << 20,
                timeout: spec.timeout,
                environment: variables(spec),
            });
            let loaded = answer.await.map_err(|_| gone())?;
            took = Some(launcher.clock.monotonic().since(begun));
            loaded.map_err(|reason| LaunchError::Module {
                function: spec.function.clone(),
                reason,
            })
        };
        self.loaded.get_or_try_init(|| load).await?;
        Ok(took)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.loaded.initialized() {
            self.link.send(&Order::Unload {
                module: self.number,
            });
        }
    }
}

/// What every instance of `spec` finds in its environment.
fn variables(spec: &Spec) -> Vec<String> {
    let mut variables: std::collections::BTreeMap<String, String> =
        [("LANG", "C.UTF-8".to_owned()), ("TZ", ":UTC".to_owned())]
            .map(owned)
            .into();
    variables.extend(spec.environment.clone());
    variables.extend(environment::reserved(spec));
    variables.retain(|name, _| !CREDENTIALS.contains(&name.as_str()));
    let line = |(name, value): (String, String)| format!("{name}={value}");
    variables.into_iter().map(line).collect()
}
