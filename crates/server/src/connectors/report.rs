//! What is told of connectors.

mod text;

use clock::Timestamp;
use connector::{Notices, Told};
use serde::{Deserialize, Serialize};

use super::Definition;
use super::board::{Live, Phase, SourceLive, SourceState, Trouble};
use super::definitions::{Connector, Origin, Standing};
use super::door::Door;
use super::kind::Weight;
use super::observed::id_of;

pub(crate) use text::{to_list, to_text};

/// One connector.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    /// `postgres`, …
    pub(crate) kind: String,
    /// `added` by command, or `declared` in the configuration file.
    pub(crate) origin: String,
    /// `starting`, `running`, `degraded`: a part of it is not read, `retrying`, `failed`, `paused`,
    /// `removing`, or `elsewhere`: on another node.
    pub(crate) state: String,
    /// Where it reads.
    pub(crate) reads: String,
    /// The topics that it has written to, or that are there for it.
    pub(crate) topics: Vec<String>,
    /// ARNs of streams, for event source mappings.
    pub(crate) streams: Vec<String>,
    pub(crate) sources: Vec<SourceReport>,
    /// What it should read and cannot.
    pub(crate) absent: Vec<AbsentReport>,
    /// How hints at changes come, where it listens to a channel of its own. Whatever becomes of them,
    /// nothing is missed: they are good for seeing changes at once.
    pub(crate) hints: Option<HintsReport>,
    /// What went wrong last, since it was started.
    pub(crate) last_error: Option<String>,
    /// When that was, RFC 3339.
    pub(crate) last_error_at: Option<String>,
    /// What to do, when something is to be done.
    pub(crate) advice: Option<String>,
}

/// One source of a connector: a partition of its own order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SourceReport {
    pub(crate) source: String,
    pub(crate) state: String,
    /// Everything up to here is in the log; none before the first.
    pub(crate) position: Option<String>,
    /// Events since it was started.
    pub(crate) events: u64,
    /// Events that wait at the source, where it knows.
    pub(crate) lag_events: Option<u64>,
    /// Bytes that wait at the source, where it knows.
    pub(crate) lag_bytes: Option<u64>,
    /// How long after it happened the last event came.
    pub(crate) lag_seconds: Option<f64>,
    #[serde(skip)]
    delay_ms: Option<u64>,
    /// What went wrong last, while that keeps it from being read.
    pub(crate) error: Option<String>,
    /// How often events were lost at the source before they were read, over restarts.
    #[serde(default)]
    pub(crate) gaps: ToldReport,
    /// How often what is read was emptied at once, over restarts.
    #[serde(default)]
    pub(crate) truncations: ToldReport,
}

/// Things that became of a source as a whole.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ToldReport {
    pub(crate) count: u64,
    /// What the last was.
    pub(crate) last: Option<String>,
    /// When it was told, RFC 3339.
    pub(crate) last_at: Option<String>,
}

/// A part of what a connector should read, and why it does not.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct AbsentReport {
    pub(crate) what: String,
    pub(crate) why: String,
    /// RFC 3339.
    pub(crate) since: String,
}

/// A channel by which a connector hears of changes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct HintsReport {
    /// What its user calls it.
    pub(crate) from: String,
    /// Since when nothing comes, RFC 3339, if that lasts.
    pub(crate) broken_since: Option<String>,
    /// Why.
    pub(crate) error: Option<String>,
    /// How often something came that was no notification of what is watched.
    pub(crate) refused: u64,
    /// What was wrong with the last of that.
    pub(crate) refusal: Option<String>,
}

/// What is left of a connector that was removed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Removed {
    pub(crate) name: String,
    /// What became of what it had made at the source.
    pub(crate) at_the_source: String,
    /// Its topics, which stay with everything that was read, as do event source mappings of them.
    pub(crate) topics: Vec<String>,
}

impl From<Told> for ToldReport {
    fn from(told: Told) -> Self {
        let (at, last) = told.last.unzip();
        Self {
            count: told.count,
            last,
            last_at: at.map(|at| at.to_rfc3339()),
        }
    }
}

impl SourceReport {
    /// How long after it happened the last event came, in milliseconds.
    pub(crate) fn delay_ms(&self) -> Option<u64> {
        self.delay_ms
    }
}

impl Report {
    /// What is known of `connector` here and now.
    pub(super) fn of(door: &Door, connector: &Connector) -> Self {
        let Connector { definition, .. } = connector;
        let kind = definition.settings.as_kind();
        let name = &definition.name;
        let live = door.board.of(name);
        let state = state(connector.standing, live.as_ref());
        let trouble = live.as_ref().and_then(Live::last_trouble);
        Self {
            name: name.to_string(),
            kind: kind.name().to_owned(),
            origin: match connector.origin {
                Origin::Declared => "declared",
                Origin::Added(_) => "added",
            }
            .to_owned(),
            advice: advice(name.as_str(), state),
            state: state.word().to_owned(),
            reads: kind.reads(),
            topics: topics_of(door, definition),
            streams: door.streams.of(definition, &door.around.log),
            sources: sources(door, connector, live.as_ref()),
            absent: live.as_ref().map(absent).unwrap_or_default(),
            hints: live.as_ref().and_then(|_| hints(door, definition)),
            last_error: trouble.as_ref().map(|(text, _)| text.clone()),
            last_error_at: trouble.map(|(_, at)| at.to_rfc3339()),
        }
    }
}

/// The topics that a connector has written to, or that are there for it.
pub(super) fn topics_of(door: &Door, definition: &Definition) -> Vec<String> {
    let topics = definition.settings.as_kind().topics(&definition.name);
    let all = door.around.log.topics().into_iter();
    let names = all.map(|topic| topic.name.to_string());
    names.filter(|topic| topics.contain(topic)).collect()
}

fn absent(live: &Live) -> Vec<AbsentReport> {
    let absent = live.absent.iter();
    let report = |(what, (trouble, _)): (&String, &(Trouble, Weight))| AbsentReport {
        what: what.clone(),
        why: trouble.text.clone(),
        since: trouble.at.to_rfc3339(),
    };
    absent.map(report).collect()
}

fn hints(door: &Door, definition: &Definition) -> Option<HintsReport> {
    let (from, state) = door.around.hints.channel(&definition.name)?;
    let (since, error) = state
        .broken
        .map(|it| (it.since.to_rfc3339(), it.why))
        .unzip();
    let (refused, refusal) = state.refused.map(|it| (it.count, it.why)).unzip();
    Some(HintsReport {
        from,
        broken_since: since,
        error,
        refused: refused.unwrap_or_default(),
        refusal,
    })
}

fn sources(door: &Door, connector: &Connector, live: Option<&Live>) -> Vec<SourceReport> {
    let Connector { definition, .. } = connector;
    let kind = definition.settings.as_kind();
    let log = &door.around.log;
    let known = kind.source_ids(&definition.name, log);
    let mut ids: Vec<_> = known.iter().map(|id| id_of(id, connector.origin)).collect();
    ids.extend(
        live.into_iter()
            .flat_map(|live| live.sources.keys().cloned()),
    );
    ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    ids.dedup();
    let failed = live.is_some_and(|live| live.phase == Phase::Failed);
    let none = SourceLive::default();
    let report = |id| {
        let here = live.and_then(|live| live.sources.get(&id));
        let position = log.position(&id).and_then(|position| kind.show(&position));
        let seen = here.unwrap_or(&none);
        let notices = Notices::of(&**log, &id);
        SourceReport {
            state: match (here, connector.standing) {
                (Some(_), _) if failed => State::Failed.word(),
                (Some(live), _) => live.state.word(),
                (None, Standing::Running) => SourceState::Opening.word(),
                (None, Standing::Paused) => State::Paused.word(),
                (None, Standing::Removing) => State::Removing.word(),
            }
            .to_owned(),
            source: id.to_string(),
            position,
            events: seen.events,
            lag_events: seen.lag_events,
            lag_bytes: seen.lag_bytes,
            delay_ms: seen.delay_ms,
            #[expect(clippy::cast_precision_loss, reason = "milliseconds shown as seconds")]
            lag_seconds: seen.delay_ms.map(|millis| millis as f64 / 1_000.0),
            error: match seen.state {
                SourceState::Retrying | SourceState::Failed => {
                    seen.trouble.as_ref().map(|trouble| trouble.text.clone())
                }
                SourceState::Opening | SourceState::Reading | SourceState::Elsewhere => None,
            },
            gaps: notices.gaps.into(),
            truncations: notices.truncations.into(),
        }
    };
    ids.into_iter().map(report).collect()
}

/// The state of a connector as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    Degraded,
    Retrying,
    Failed,
    Paused,
    Removing,
    Elsewhere,
}

fn state(standing: Standing, live: Option<&Live>) -> State {
    match standing {
        Standing::Paused => return State::Paused,
        Standing::Removing => return State::Removing,
        Standing::Running => {}
    }
    let Some(live) = live else {
        return State::Starting;
    };
    match live.phase {
        Phase::Preparing => return State::Starting,
        Phase::Waiting => return State::Retrying,
        Phase::Failed => return State::Failed,
        Phase::Reading => {}
    }
    let any = |state| live.sources.values().any(|source| source.state == state);
    let whole = !live.lacks_something() && !any(SourceState::Failed);
    if !whole && any(SourceState::Reading) {
        State::Degraded
    } else if any(SourceState::Retrying) {
        State::Retrying
    } else if any(SourceState::Opening) {
        State::Starting
    } else if any(SourceState::Failed) {
        State::Failed
    } else if live.lacks_something() {
        State::Retrying
    } else if any(SourceState::Elsewhere) {
        State::Elsewhere
    } else {
        // All that there is, which may be nothing yet.
        State::Running
    }
}

fn advice(name: &str, state: State) -> Option<String> {
    match state {
        State::Starting | State::Running => None,
        State::Degraded => Some(format!(
            "the rest is read; see to what is named above. What is absent is looked for again by itself, at least every half minute; for what failed: tidemill connector resume {name}"
        )),
        State::Retrying => Some(
            "it is tried again by itself, at least every half minute; see to what the error names"
                .to_owned(),
        ),
        State::Failed => Some(format!(
            "see to what the error names, then: tidemill connector resume {name}"
        )),
        State::Paused => Some(format!("to go on: tidemill connector resume {name}")),
        State::Removing => Some(format!(
            "it is stopped; to finish: tidemill connector remove {name}, or with --keep-slot to leave behind what it made at the source"
        )),
        State::Elsewhere => {
            Some("another node of the cluster reads it; ask that one for lag and errors".to_owned())
        }
    }
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Removing => "removing",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl SourceState {
    const fn word(self) -> &'static str {
        match self {
            Self::Opening => "starting",
            Self::Reading => "running",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl Live {
    fn last_trouble(&self) -> Option<(String, Timestamp)> {
        let sources = self.sources.values().filter_map(|it| it.trouble.as_ref());
        let wanted = self.absent.values();
        let wanted = wanted.filter(|(_, weight)| *weight == Weight::Wanted);
        let absent = wanted.map(|(trouble, _)| trouble);
        let all = self.trouble.iter().chain(sources).chain(absent);
        let last = all.max_by_key(|trouble| trouble.at)?;
        Some((last.text.clone(), last.at))
    }
}
