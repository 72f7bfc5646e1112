//! Removing a connector: stopped, its traces at the source taken back, then forgotten.

use std::time::Duration;

use connector::{Memory, Notices, Pause, SourceError, pause_after};
use event::SourcePosition;
use event_log::{PositionUpdate, Settlement};
use serde::Deserialize;
use tokio::time::Instant;

use super::board::line;
use super::definitions::{Connector, DefinitionError, Standing};
use super::door::Door;
use super::observed::id_of;
use super::report::topics_of;
use super::{ConnectorName, Removed};

/// How long the source is asked to let go: a connection that was just closed takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of what the connector made at the source.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Leave {
    /// It is taken back.
    #[default]
    Nothing,
    /// It stays.
    Everything,
}

/// Why a connector is still there.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemovalError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(
        "connector {name} is stopped and not removed yet: {reason}. Remove it again, or with --keep-slot to leave behind what it made"
    )]
    Release { name: ConnectorName, reason: String },
    #[error(
        "connector {name} is a {kind} connector and leaves nothing behind at its source: --keep-slot is for those that do"
    )]
    NothingToKeep {
        name: ConnectorName,
        kind: &'static str,
    },
}

/// Removes a connector. Cut off at any point, it stands as one that is being removed, and the same
/// again goes on.
pub(super) async fn remove(
    door: &Door,
    name: &ConnectorName,
    leave: Leave,
) -> Result<Removed, RemovalError> {
    let connector = door.definitions.get(name)?;
    let kind = connector.definition.settings.as_kind();
    let leaves = kind.leaves_behind(name);
    let nothing_to_keep = || RemovalError::NothingToKeep {
        name: name.clone(),
        kind: kind.name(),
    };
    if leave == Leave::Everything && leaves.is_none() {
        return Err(nothing_to_keep());
    }
    door.definitions
        .set_standing(name, Standing::Removing)
        .await?;
    door.board.until_ended(name).await;
    let at_the_source = match leave {
        Leave::Everything => leaves.ok_or_else(nothing_to_keep)?,
        Leave::Nothing => {
            let released = release(door, &connector).await;
            released.map_err(|error| RemovalError::Release {
                name: name.clone(),
                reason: line(&error),
            })?
        }
    };
    erase_positions(door, &connector).await;
    door.definitions.forget(name).await?;
    tracing::info!(connector = %name, "a connector was removed");
    Ok(Removed {
        name: name.to_string(),
        at_the_source,
        topics: topics_of(door, &connector.definition),
    })
}

async fn release(door: &Door, connector: &Connector) -> Result<String, SourceError> {
    let Connector { definition, .. } = connector;
    let deadline = Instant::now() + PATIENCE;
    let mut failures = 0;
    loop {
        let kind = definition.settings.as_kind();
        let error = match kind.release(&definition.name, &door.around).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        failures += 1;
        match pause_after(&error, failures) {
            Pause::For(pause) if Instant::now() + pause < deadline => {
                tokio::time::sleep_until(Instant::now() + pause).await;
            }
            Pause::For(_) | Pause::Forever => return Err(error),
        }
    }
}

/// Its sources' ids are used by nobody any more: what the log remembers for them goes, and a position is
/// only cut short; on a cluster another node may hold that, and then it stays.
async fn erase_positions(door: &Door, connector: &Connector) {
    let Connector { definition, .. } = connector;
    let log = &door.around.log;
    let ids = definition.settings.as_kind();
    for id in ids.source_ids(&definition.name, log) {
        let source = id_of(&id, connector.origin);
        if log.position(&source).is_none() {
            continue;
        }
        let forgotten = match Memory::of(log, &source) {
            Ok(memory) => memory.erase().await,
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, %source, "what was remembered for a removed connector is left behind");
        }
        let notices = Notices::id(&source);
        let told = log.position(&notices).map(|_| notices);
        let cut_short = |source| PositionUpdate {
            source,
            position: SourcePosition::new(""),
        };
        let nothing = Settlement {
            appends: Vec::new(),
            checkpoints: Vec::new(),
            positions: told.into_iter().chain([source]).map(cut_short).collect(),
            writer: None,
        };
        if let Err(error) = log.commit(nothing).await {
            tracing::debug!(%error, "cut a removed connector's position short");
        }
    }
}
