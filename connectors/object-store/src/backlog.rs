//! What a listing has found and was not handed over yet, and the manifest that grows with it.

use std::collections::{BTreeMap, VecDeque};

use clock::Timestamp;
use connector::{Batch, Delivery, Placement, SourceError};
use event::SourcePosition;
use event_log::TopicName;

use crate::Config;
use crate::manifest::{Change, Entry, Manifest};
use crate::s3_event::event;

/// Changes on their way, and what is known without them.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) manifest: Manifest,
    pending: VecDeque<Change>,
}

impl Backlog {
    /// Begins at a position, or with nothing known.
    pub(crate) fn at(
        position: Option<&SourcePosition>,
        config: &Config,
    ) -> Result<Self, SourceError> {
        let manifest = position.map(Manifest::from_position).transpose();
        let manifest = manifest.map_err(|error| SourceError::Rejected {
            act: format!("resume {}", config.bucket),
            source: Box::new(error),
        })?;
        Ok(Self {
            manifest: manifest.unwrap_or_default(),
            pending: VecDeque::new(),
        })
    }

    /// Takes a listing in; nothing may be pending.
    pub(crate) fn found(&mut self, listing: BTreeMap<String, Entry>) {
        self.pending = self.manifest.changes_to(listing).into();
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// As many pending changes as fit, at least one; `None` for none at all.
    pub(crate) fn take(
        &mut self,
        max_bytes: usize,
        topic: &TopicName,
        config: &Config,
        now: Timestamp,
    ) -> Result<Option<Batch>, SourceError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let mut manifest = self.manifest.clone();
        manifest.generation += 1;
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes
            && let Some(change) = self.pending.pop_front()
        {
            let record = event(config, &change, manifest.generation, now).into_record();
            bytes += record.payload_len();
            records.push(record);
            manifest.apply(&change);
        }
        let position = manifest
            .to_position()
            .map_err(|error| SourceError::Rejected {
                act: format!("remember what is in {}", config.bucket),
                source: Box::new(error),
            })?;
        self.manifest = manifest;
        let deliver = |record| Delivery {
            position: position.clone(),
            topic: topic.clone(),
            placement: Placement::ByKey,
            record,
        };
        Ok(Some(Batch {
            deliveries: records.into_iter().map(deliver).collect(),
            position,
        }))
    }
}
