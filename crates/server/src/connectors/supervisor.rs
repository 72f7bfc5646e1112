//! Has a conductor for each connector that should run, and none for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::board::{Phase, Trouble};
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

/// A conductor.
struct Running {
    /// The state of the connector that it was started for.
    revision: Uuid,
    stop: CancellationToken,
    /// Its task; `None` once that has panicked: then its place is kept until the connector changes.
    task: Option<Id>,
}

type Conductors = JoinSet<()>;

impl Supervisor {
    /// Runs until `stop`, and until every conductor has ended.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.definitions.changes();
        let mut running: BTreeMap<ConnectorName, Running> = BTreeMap::new();
        let mut conductors = Conductors::new();
        loop {
            changes.mark_unchanged();
            self.reconcile(&mut running, &mut conductors);
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = changes.changed() => {}
                Some(ended) = conductors.join_next_with_id() => {
                    let (id, panicked) = match ended {
                        Ok((id, ())) => (id, None),
                        Err(error) => (error.id(), Some(error)),
                    };
                    self.ended(&mut running, id, panicked);
                }
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
        conductors: &mut Conductors,
    ) {
        let wanted = self.definitions.all().into_iter().filter(is_wanted);
        let wanted: BTreeMap<ConnectorName, Connector> = wanted
            .map(|connector| (connector.definition.name.clone(), connector))
            .collect();
        running.retain(|name, one| {
            let as_wanted = wanted.get(name).map(|connector| connector.revision);
            if as_wanted == Some(one.revision) {
                return true;
            }
            one.stop.cancel();
            if one.task.is_none() {
                self.board.end(name);
            }
            one.task.is_some()
        });
        for (name, connector) in wanted {
            if running.contains_key(&name) {
                continue;
            }
            let (revision, stop) = (connector.revision, CancellationToken::new());
            let conductor = Conductor {
                connector,
                around: self.around.clone(),
                board: Arc::clone(&self.board),
            };
            let task = conductors.spawn(conductor.run(stop.clone())).id();
            let one = Running {
                revision,
                stop,
                task: Some(task),
            };
            running.insert(name, one);
        }
    }

    fn ended(
        &self,
        running: &mut BTreeMap<ConnectorName, Running>,
        task: Id,
        panicked: Option<JoinError>,
    ) {
        let found = running.iter_mut().find(|(_, one)| one.task == Some(task));
        let Some((name, one)) = found else { return };
        let name = name.clone();
        let Some(error) = panicked else {
            running.remove(&name);
            return;
        };
        one.task = None;
        tracing::error!(connector = %name, %error, "a connector's conductor panicked");
        let trouble = Trouble {
            text: error.to_string(),
            at: self.around.clock.now(),
        };
        self.board.set(&name, |live| {
            live.phase = Phase::Failed;
            live.trouble = Some(trouble);
        });
    }
}

fn is_wanted(connector: &Connector) -> bool {
    match connector.standing {
        Standing::Running => true,
        Standing::Paused | Standing::Removing => false,
    }
}
