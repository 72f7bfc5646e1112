//! What is known, what was found different, and what of that was not handed over yet.
//!
//! The **manifest** is the source's memory in the log: the latest note of a key says in which state its
//! object was told, or that it is gone. Notes are settled with the events that they are of, so that
//! whatever crashes, an object is in the manifest in a state if and only if that was told. Of the
//! manifest only hashes are kept here ([`Known`]); for the names of objects that are missing it is read
//! again.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use clock::Timestamp;
use connector::{Batch, Delivery, Memory, Note, Placement, Recollection, SourceError};
use event::SourcePosition;
use event_log::TopicName;

use crate::Config;
use crate::entry::{Change, Entry, State};
use crate::known::{Found, Known};
use crate::position::{Place, Stored};
use crate::s3_event::event;

/// So many differences are put in order and handed over together: what is held of them in memory.
const WINDOW: usize = 4_096;

/// Differences on their way, and what is known with them.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// As if everything found had been handed over.
    pub(crate) known: Known,
    memory: Option<Memory>,
    /// What was handed over leads here; `None` before the manifest was read.
    reached: Option<Place>,
    /// What is to be noted without an event: objects that a position of old held.
    unnoted: Vec<Note>,
    gathered: Vec<Difference>,
    pending: VecDeque<Difference>,
    /// How far the manifest was read for the names of missing objects.
    naming: Option<Recollection>,
}

/// A change, and by how many objects the manifest grows with it.
#[derive(Debug)]
struct Difference {
    change: Change,
    growth: i64,
}

impl Backlog {
    /// Takes the memory in which the manifest is.
    pub(crate) fn recall(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    /// Begins at a position, or with nothing known. Reads the manifest, unless it is known as of there.
    ///
    /// # Errors
    /// Rejected when the position is none of this source, or the manifest is not that of the position.
    pub(crate) async fn open(
        &mut self,
        position: Option<&SourcePosition>,
        config: &Config,
    ) -> Result<(), SourceError> {
        self.naming = None;
        let act = || format!("resume {}", config.bucket);
        let stored = position.map(Stored::read).transpose();
        let stored = stored.map_err(|error| SourceError::Rejected {
            act: act(),
            source: Box::new(error),
        })?;
        let place = match &stored {
            None => Place::default(),
            Some(Stored::Place(place)) => *place,
            Some(Stored::Whole { generation, .. }) => Place {
                generation: *generation,
                objects: 0,
            },
        };
        if self.reached == Some(place) {
            return Ok(());
        }
        let memory = self.memory.take();
        *self = Self {
            memory,
            ..Self::default()
        };
        self.read_manifest().await?;
        if self.known.len() as u64 != place.objects {
            let reason = format!(
                "its manifest{} holds {} objects where {} were told: something else has changed it",
                self.topic(),
                self.known.len(),
                place.objects
            );
            return Err(SourceError::Rejected {
                act: act(),
                source: reason.into(),
            });
        }
        if let Some(Stored::Whole { objects, .. }) = stored {
            for (key, entry) in objects {
                self.known.put(&key, &entry);
                let state = State::Created(entry);
                self.unnoted.push(Change { key, state }.note());
            }
        }
        self.reached = Some(place);
        Ok(())
    }

    /// What is known of the manifest's whereabouts, for people.
    fn topic(&self) -> String {
        let memory = self.memory.as_ref();
        memory.map_or(String::new(), |memory| format!(" {}", memory.topic()))
    }

    async fn read_manifest(&mut self) -> Result<(), SourceError> {
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        let mut notes = memory.recollect().await?;
        while let Some(notes) = notes.next().await? {
            for note in notes {
                let key = self.name(&note.key)?;
                match note.value {
                    None => {
                        self.known.forget(key);
                    }
                    Some(value) => {
                        let entry = Entry::from_value(&value);
                        let entry = entry.map_err(|error| self.damaged(error))?;
                        self.known.put(key, &entry);
                    }
                }
            }
        }
        Ok(())
    }

    fn name<'a>(&self, key: &'a Bytes) -> Result<&'a str, SourceError> {
        std::str::from_utf8(key).map_err(|error| self.damaged(error))
    }

    fn damaged(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
        SourceError::Rejected {
            act: format!("read the manifest{}", self.topic()),
            source: error.into(),
        }
    }

    /// A pass through everything that there is begins.
    pub(crate) fn begin_pass(&mut self) {
        self.naming = None;
        self.known.begin_pass();
    }

    /// The pass has come to an object.
    pub(crate) fn listed(&mut self, key: String, entry: Entry) {
        let found = self.known.list(&key, &entry);
        self.gather(key, entry, found);
    }

    /// An object is so just now, whatever a pass has seen.
    pub(crate) fn seen(&mut self, key: String, entry: Entry) {
        let found = self.known.put(&key, &entry);
        self.gather(key, entry, found);
    }

    fn gather(&mut self, key: String, entry: Entry, found: Found) {
        let growth = match found {
            Found::Same => return,
            Found::Other => 0,
            Found::New => 1,
        };
        let state = State::Created(entry);
        let change = Change { key, state };
        self.gathered.push(Difference { change, growth });
    }

    /// An object is not there. One that was not known is no difference.
    pub(crate) fn gone(&mut self, key: String) {
        if self.known.forget(&key) {
            let state = State::Removed;
            let change = Change { key, state };
            self.gathered.push(Difference { change, growth: -1 });
        }
    }

    /// Some names of objects that the pass has not come to, each once; `None` when there are no more. All
    /// that is found out about them is to be said before the next call.
    ///
    /// # Errors
    /// The manifest cannot be read, or does not hold them.
    pub(crate) async fn missing(&mut self) -> Result<Option<Vec<String>>, SourceError> {
        while self.known.missing() > 0 {
            let naming = match (&mut self.naming, &self.memory) {
                (Some(naming), _) => naming,
                (naming @ None, Some(memory)) => naming.insert(memory.recollect().await?),
                (None, None) => break,
            };
            let Some(notes) = naming.next().await? else {
                let left = self.known.missing();
                return Err(self.damaged(format!("{left} objects that were told are not in it")));
            };
            let mut names = Vec::new();
            let mut once = HashSet::new();
            for note in &notes {
                let key = self.name(&note.key)?;
                if self.known.is_missing(key) && once.insert(key) {
                    names.push(key.to_owned());
                }
            }
            if !names.is_empty() {
                return Ok(Some(names));
            }
        }
        self.naming = None;
        Ok(None)
    }

    /// Lets what was gathered be handed over, in order, if there is enough of it.
    pub(crate) fn release_full(&mut self) {
        if self.gathered.len() >= WINDOW {
            self.release();
        }
    }

    /// Lets what was gathered be handed over, in order.
    pub(crate) fn release(&mut self) {
        let order = |one: &Difference, other: &Difference| {
            let (one, other) = (&one.change, &other.change);
            one.order().cmp(&other.order())
        };
        self.gathered.sort_by(order);
        self.pending.extend(self.gathered.drain(..));
    }

    /// Differences that are known and were not handed over.
    pub(crate) fn len(&self) -> usize {
        self.gathered.len() + self.pending.len()
    }

    /// As many released differences as fit, at least one; `None` for none at all.
    pub(crate) fn take(
        &mut self,
        max_bytes: usize,
        topic: &TopicName,
        config: &Config,
        now: Timestamp,
    ) -> Option<Batch> {
        if self.pending.is_empty() && self.unnoted.is_empty() {
            return None;
        }
        let before = self.reached.unwrap_or_default();
        let generation = before.generation + 1;
        let mut notes = std::mem::take(&mut self.unnoted);
        let mut objects = before.objects.saturating_add(notes.len() as u64);
        let mut records = Vec::new();
        let mut keys = HashSet::new();
        let mut bytes = 0;
        while bytes < max_bytes
            && notes.len() == records.len()
            // Ids and sequencers are made of keys and generations.
            && let Some(Difference { change, growth }) =
                self.pending.pop_front_if(|next| keys.insert(next.change.key.clone()))
        {
            let record = event(config, &change, generation, now).into_record();
            bytes += record.payload_len();
            records.push(record);
            notes.push(change.note());
            objects = objects.saturating_add_signed(growth);
        }
        let place = Place {
            generation,
            objects,
        };
        self.reached = Some(place);
        let position = place.to_position();
        let deliver = |record| Delivery {
            position: position.clone(),
            topic: topic.clone(),
            placement: Placement::ByKey,
            record,
        };
        Some(Batch {
            deliveries: records.into_iter().map(deliver).collect(),
            notices: Vec::new(),
            notes,
            position,
        })
    }
}
