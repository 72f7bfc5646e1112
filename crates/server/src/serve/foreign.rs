//! Foreign sources: what reads them, and who may ask.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clock::SharedClock;
use event_log::SharedLog;

use crate::backing::Store;
use crate::config::Config;
use crate::connectors::{Definitions, Door, Streams, Supervisor, Surroundings, refuse_own_bucket};
use crate::operator::OperatorKey;

/// Foreign sources' parts.
pub(super) struct Foreign {
    pub(super) door: Door,
    pub(super) supervisor: Supervisor,
}

impl Foreign {
    /// Reads the connectors that there are; nothing is read from their sources yet.
    ///
    /// # Errors
    /// The store cannot be read, or what it keeps and what the configuration declares do not go
    /// together: connectors or buckets of one name.
    pub(super) async fn open(
        config: &Config,
        dir: &Path,
        store: &Store,
        log: &SharedLog,
        clock: &SharedClock,
    ) -> anyhow::Result<Self> {
        let declared = config.connectors.clone();
        for definition in &declared {
            refuse_own_bucket(definition, log)?;
        }
        let definitions = Definitions::open(store.documents.clone(), declared).await;
        let definitions = Arc::new(definitions.context("read the connectors")?);
        let around = Surroundings {
            log: log.clone(),
            clock: clock.clone(),
            account: config.account.clone(),
            region: config.region.clone(),
            spool: dir.join("spool"),
            hints: Arc::default(),
        };
        let door = Door {
            operator: OperatorKey::load_or_create(dir)?,
            definitions: definitions.clone(),
            board: Arc::default(),
            around: around.clone(),
            streams: Streams {
                definitions: definitions.clone(),
                account: config.account.clone(),
                region: config.region.clone(),
            },
        };
        let supervisor = Supervisor {
            definitions,
            around,
            board: door.board.clone(),
        };
        Ok(Self { door, supervisor })
    }

    /// All connectors.
    pub(super) fn definitions(&self) -> Arc<Definitions> {
        self.door.definitions.clone()
    }
}
