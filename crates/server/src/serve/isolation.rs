//! How functions are kept apart, and what the user is told of it at start.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use instance::{Endpoint, Isolation};
use sandbox::{Limit, PlainSpawner, Spawner, SpawnerConfig};

use crate::config::IsolationKind;

/// Sandboxes that are kept ready at first. Each costs about 0.7 MiB, and saves a cold start some
/// milliseconds.
const SPARES: usize = 4;

/// Sandboxes that are kept ready once bursts of starts have shown the need, 45 MiB of them.
const SPARES_AT_MOST: usize = 64;

/// Interpreters that wait for their functions, of each runtime that a function has. Each costs about 6 MiB
/// (Python) or 9 MiB (Node.js), and saves a cold start what the interpreter takes to start.
const EARLY: usize = 4;

/// Prepares what `kind` asks for, and says in the log how far it goes. Returns with it where
/// functions find the server's own endpoint `own`.
///
/// # Errors
/// Sandboxes are asked for and this machine does not allow them.
pub(super) fn start(
    kind: IsolationKind,
    dir: &Path,
    own: Endpoint,
) -> anyhow::Result<(Isolation, SocketAddr)> {
    match kind {
        IsolationKind::Sandbox => {
            let config = SpawnerConfig {
                mount_point: dir.join("sandboxes"),
                disk: dir.join("temporary"),
                spares: SPARES,
                spares_at_most: SPARES_AT_MOST,
                early: EARLY,
            };
            let spawner = Spawner::start(config).context(
                "functions cannot be isolated on this machine, and nothing was started. To run \
                 functions all the same, as ordinary processes of this user, set isolation = \
                 \"none\" under [functions], or pass --isolation none",
            )?;
            let weaknesses = spawner.weaknesses();
            if weaknesses.is_empty() {
                tracing::info!(
                    "functions are isolated: each instance runs in a sandbox of its own"
                );
            } else {
                tracing::warn!(
                    "functions are isolated, each instance in a sandbox of its own, with weaker \
                     guarantees than a server started as root would give"
                );
            }
            for weakness in weaknesses {
                tracing::warn!("{weakness}");
            }
            Ok((Isolation::Sandboxed(spawner), own.inside.into()))
        }
        IsolationKind::None => {
            let spawner = PlainSpawner::start().context("prepare to start processes")?;
            tracing::warn!(
                "functions are NOT isolated, as asked for: each runs as an ordinary process of this \
                 user, can read what this user can read and reach the network; deploy only code \
                 that you trust"
            );
            match &spawner.limits().memory {
                Limit::Enforced => {}
                Limit::NotEnforced(reason) => tracing::warn!(
                    "the memory size of functions is billed but not enforced: {reason}"
                ),
            }
            Ok((Isolation::None(spawner), own.outside))
        }
    }
}
