//! What connectors do just now, for whoever asks.

use std::collections::BTreeMap;

use clock::Timestamp;
use event::SourceId;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::ConnectorName;
use super::kind::Weight;

/// What every connector of this node does. A connector that has no conductor here is not on it.
#[derive(Debug, Default)]
pub(crate) struct Board {
    live: Mutex<BTreeMap<ConnectorName, Live>>,
    /// Changes when a conductor ends.
    ended: watch::Sender<u64>,
}

/// One connector's work on this node.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    pub(super) phase: Phase,
    pub(super) trouble: Option<Trouble>,
    pub(super) sources: BTreeMap<SourceId, SourceLive>,
    /// Parts of what it should read that are not there, or cannot be read, by name; each since when.
    pub(super) absent: BTreeMap<String, (Trouble, Weight)>,
}

/// Where a conductor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It finds out what to read.
    #[default]
    Preparing,
    /// Its sources are read, as far as they are this node's.
    Reading,
    /// It waits before it tries again.
    Waiting,
    /// It has given up until its user says otherwise.
    Failed,
}

/// What went wrong last.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) text: String,
    pub(super) at: Timestamp,
}

/// What one source does.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceLive {
    pub(super) state: SourceState,
    /// Events that it handed over since the conductor began.
    pub(super) events: u64,
    pub(super) lag_events: Option<u64>,
    pub(super) lag_bytes: Option<u64>,
    /// How old the newest event was when it came.
    pub(super) delay_ms: Option<u64>,
    pub(super) trouble: Option<Trouble>,
}

/// Where a source is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SourceState {
    /// It connects.
    #[default]
    Opening,
    /// It is read.
    Reading,
    /// It failed and will be opened again.
    Retrying,
    /// It is not read until its user says otherwise.
    Failed,
    /// Another node has it.
    Elsewhere,
}

impl Live {
    /// Whether something is absent that its user has asked for.
    pub(super) fn lacks_something(&self) -> bool {
        self.absent.values().any(|(_, it)| *it == Weight::Wanted)
    }
}

impl Board {
    /// What a connector does; `None` without a conductor.
    pub(super) fn of(&self, name: &ConnectorName) -> Option<Live> {
        self.live.lock().get(name).cloned()
    }

    pub(super) fn set(&self, name: &ConnectorName, change: impl FnOnce(&mut Live)) {
        change(self.live.lock().entry(name.clone()).or_default());
    }

    pub(super) fn set_source(
        &self,
        name: &ConnectorName,
        source: &SourceId,
        change: impl FnOnce(&mut SourceLive),
    ) {
        self.set(name, |live| {
            change(live.sources.entry(source.clone()).or_default());
        });
    }

    /// A conductor begins; it has nothing from another before it.
    pub(super) fn begin(&self, name: &ConnectorName) {
        self.live.lock().insert(name.clone(), Live::default());
    }

    /// A conductor has ended.
    pub(super) fn end(&self, name: &ConnectorName) {
        self.live.lock().remove(name);
        self.ended.send_modify(|count| *count += 1);
    }

    /// Waits until a connector has no conductor here.
    pub(super) async fn until_ended(&self, name: &ConnectorName) {
        let mut ended = self.ended.subscribe();
        while self.of(name).is_some() {
            if ended.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A failure with its causes, in one line.
pub(super) fn line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
