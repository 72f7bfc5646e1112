//! Has interpreters wait for the functions that there are, before the first of them is invoked.

use std::collections::BTreeSet;
use std::sync::Arc;

use function::Registry;
use instance::{ProcessLauncher, Runtime};
use tokio_util::sync::CancellationToken;

/// Looks at every change of the registry for runtimes that it has not seen, until `stop`.
pub(super) async fn run(
    launcher: Arc<ProcessLauncher>,
    registry: Arc<Registry>,
    stop: CancellationToken,
) {
    let mut changes = registry.changes();
    let mut seen = BTreeSet::new();
    let looking = async {
        loop {
            let (functions, versions) = (registry.functions(), registry.every_version());
            let runtimes = functions
                .iter()
                .chain(&versions)
                .filter_map(|function| function.runtime.parse::<Runtime>().ok());
            for runtime in runtimes {
                if seen.insert(runtime)
                    && let Err(error) = launcher.expect(runtime).await
                {
                    tracing::warn!(%error, "no interpreter waits for functions");
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(looking).await;
}
