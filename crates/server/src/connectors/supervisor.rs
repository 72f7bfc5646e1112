//! Has a conductor for each connector that should run, and none for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::conductor::Conductor;
use super::definitions::{Connector, Standing};
use super::{Board, ConnectorName, Definitions, Surroundings};

/// Runs all connectors of this node.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) around: Surroundings,
    pub(crate) board: Arc<Board>,
}

/// A conductor that runs.
struct Running {
    /// The state of the connector that it was started for.
    revision: Uuid,
    stop: CancellationToken,
}

impl Supervisor {
    /// Runs until `stop`, and until every conductor has ended.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.definitions.changes();
        let mut running: BTreeMap<ConnectorName, Running> = BTreeMap::new();
        let mut conductors: JoinSet<ConnectorName> = JoinSet::new();
        loop {
            changes.mark_unchanged();
            self.reconcile(&mut running, &mut conductors);
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = changes.changed() => {}
                Some(ended) = conductors.join_next() => match ended {
                    Ok(name) => drop(running.remove(&name)),
                    // Which one is not known: all are looked at, and it is not started again.
                    Err(error) => tracing::error!(%error, "a connector's conductor panicked"),
                },
            }
        }
        for one in running.values() {
            one.stop.cancel();
        }
        while conductors.join_next().await.is_some() {}
    }

    /// Starts and stops what is due. One that is to be started anew is stopped first, and started
    /// when it has ended.
    fn reconcile(
        &self,
        running: &mut BTreeMap<ConnectorName, Running>,
        conductors: &mut JoinSet<ConnectorName>,
    ) {
        let wanted = self.definitions.all().into_iter().filter(is_wanted);
        let wanted: BTreeMap<ConnectorName, Connector> = wanted
            .map(|connector| (connector.definition.name.clone(), connector))
            .collect();
        for (name, one) in running.iter() {
            let as_wanted = wanted.get(name).map(|connector| connector.revision);
            if as_wanted != Some(one.revision) {
                one.stop.cancel();
            }
        }
        for (name, connector) in wanted {
            if running.contains_key(&name) {
                continue;
            }
            let one = Running {
                revision: connector.revision,
                stop: CancellationToken::new(),
            };
            let conductor = Conductor {
                connector,
                around: self.around.clone(),
                board: Arc::clone(&self.board),
            };
            let stop = one.stop.clone();
            running.insert(name.clone(), one);
            conductors.spawn(async move {
                conductor.run(stop).await;
                name
            });
        }
    }
}

fn is_wanted(connector: &Connector) -> bool {
    match connector.standing {
        Standing::Running => true,
        Standing::Paused | Standing::Removing => false,
    }
}
