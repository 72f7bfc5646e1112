//! Provisioned concurrency: what is asked for of the registry's versions, kept by the pool.
//!
//! Its instances are beside what invocations find warm; permits are taken for every invocation all
//! the same, so that neither reservations nor the account's concurrency are passed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use function::{Function, FunctionName};
use instance::{Initialization, Provisioned, Spec};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Invoker;

/// After code could not be had: how long until it is asked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// More provisioned concurrency than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// The function's reservation is all that its versions may have.
    #[error("provision concurrency: function reserves {reserved}, of which {left} are left")]
    Reserved {
        /// The function's reservation.
        reserved: u32,
        /// What its other versions and aliases leave of it.
        left: u32,
    },
    /// What no function has reserved must leave some for those without.
    #[error("provision concurrency: {left} are left of what is not reserved")]
    Account {
        /// What can be had.
        left: u32,
    },
}

impl Invoker {
    /// Has the pool keep what the registry asks for, until `stop`.
    pub async fn keep_provisioned(self: Arc<Self>, stop: CancellationToken) {
        let keeping = async {
            let functions = &self.parts().functions;
            let mut changes = functions.changes();
            loop {
                changes.mark_unchanged();
                let mut wanted = Vec::new();
                let mut missing = false;
                for (version, executions) in functions.provisioned() {
                    match self.spec(&version).await {
                        Ok(spec) => wanted.push((ahead(&spec), executions as usize)),
                        Err(error) => {
                            missing = true;
                            tracing::warn!(function = %version.name, %error, "cannot provision");
                        }
                    }
                }
                self.parts().pool.provision(wanted);
                let again = async {
                    match missing {
                        true => sleep_until(Instant::now() + AGAIN).await,
                        false => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = again => {}
                }
            }
        };
        stop.run_until_cancelled(keeping).await;
    }

    /// What has become of a version's provisioned concurrency; `None` before it was taken up.
    #[must_use]
    pub fn provisioned(&self, version: &Function) -> Option<Provisioned> {
        let spec = self.known_spec(version)?;
        self.parts().pool.provisioned(&spec)
    }

    /// Whether something of `function` may have `wanted` instances beside the `others` that its other
    /// versions and aliases have.
    ///
    /// # Errors
    /// [`ProvisionError`] says how many can be had.
    pub fn check_provision(
        &self,
        function: &Function,
        wanted: u32,
        others: u32,
    ) -> Result<(), ProvisionError> {
        if let Some(reserved) = function.reserved_concurrency {
            let left = reserved.saturating_sub(others);
            return match wanted <= left {
                true => Ok(()),
                false => Err(ProvisionError::Reserved { reserved, left }),
            };
        }
        let elsewhere: u32 = self.provisions_beside(&function.name);
        let settings = &self.parts().settings;
        let left = settings
            .account_concurrency
            .saturating_sub(self.reserved_in_all())
            .saturating_sub(settings.minimum_unreserved)
            .saturating_sub(others)
            .saturating_sub(elsewhere);
        match wanted <= left {
            true => Ok(()),
            false => Err(ProvisionError::Account { left }),
        }
    }

    fn reserved_in_all(&self) -> u32 {
        let functions = self.parts().functions.functions();
        let reserved = functions.iter().filter_map(|it| it.reserved_concurrency);
        reserved.fold(0, u32::saturating_add)
    }

    /// What versions of other functions without a reservation have.
    fn provisions_beside(&self, function: &FunctionName) -> u32 {
        let functions = self.parts().functions.functions();
        let reserved: BTreeMap<_, _> = functions
            .iter()
            .map(|it| (it.name.clone(), it.reserved_concurrency))
            .collect();
        let provisioned = self.parts().functions.provisioned().into_iter();
        let beside = provisioned.filter(|(version, _)| {
            let unreserved = reserved.get(&version.name).is_some_and(Option::is_none);
            version.name != *function && unreserved
        });
        beside.fold(0, |sum, (_, executions)| sum.saturating_add(executions))
    }
}

/// The same, to be started before anybody asks.
fn ahead(spec: &Spec) -> Arc<Spec> {
    Arc::new(Spec {
        initialization: Initialization::Provisioned,
        ..spec.clone()
    })
}
