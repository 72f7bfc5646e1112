//! What the log remembers for a source when that is more than a position should hold.
//!
//! A source that hands over [`Note`]s has a topic of its own, named after it, in which the latest note
//! of every key stands and older ones are compacted away. Notes are written in the settlement of the
//! batch that they came with: after a crash they are where the position and the events are. The topic
//! is in the events journal, has one partition, and appears with the first note.

use std::collections::VecDeque;

use bytes::Bytes;
use event::SourceId;
use event_log::{
    Cleanup, Error as LogError, Lifetime, Offset, Partition, RecordBatch, SharedLog, TopicConfig,
    TopicName, TopicPartition, TopicSettings,
};

use crate::{Error, SourceError};

/// What is read of a memory at once, in bytes of stored batches.
const READ_BYTES: usize = 1 << 20;

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about. A later note of the same key takes its place.
    pub key: Bytes,
    /// What is known of that; `None` forgets the key.
    pub value: Option<Bytes>,
}

/// Where a source's notes are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory {
    log: SharedLog,
    topic: TopicName,
}

/// Notes on their way back to their source.
#[derive(Debug)]
pub struct Recollection {
    log: SharedLog,
    /// `None` when nothing was ever noted.
    partition: Option<TopicPartition>,
    next: Offset,
    end: Offset,
    read: VecDeque<RecordBatch>,
}

impl Memory {
    /// The memory of the source of that id, whether there is anything in it or not: the topic
    /// `tidemill.known.` and the id, with a dot for a slash and an underscore for what else no topic's
    /// name may have.
    ///
    /// # Errors
    /// The id is too long for a topic's name.
    pub fn of(log: &SharedLog, source: &SourceId) -> Result<Self, LogError> {
        let id = source.as_str().trim_start_matches('/');
        let legal = |letter: char| match letter {
            '/' => '.',
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => letter,
            _ => '_',
        };
        let name: String = id.chars().map(legal).collect();
        Ok(Self {
            log: SharedLog::clone(log),
            topic: TopicName::new(format!("tidemill.known.{name}"))?,
        })
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Everything that is remembered now, in the order in which it was noted. A key may come several
    /// times: the last note counts.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn recollect(&self) -> Result<Recollection, SourceError> {
        let mut recollection = Recollection {
            log: SharedLog::clone(&self.log),
            partition: None,
            next: Offset::ZERO,
            end: Offset::ZERO,
            read: VecDeque::new(),
        };
        if self.log.topic(&self.topic).is_some() {
            let partition = self.topic.partition(Partition::new(0));
            let bounds = self.log.bounds(&partition);
            recollection.next = bounds.map_err(|error| unread(&partition, error))?.start;
            let end = self.log.end(&partition).await;
            recollection.end = end.map_err(|error| unread(&partition, error))?;
            recollection.partition = Some(partition);
        }
        Ok(recollection)
    }

    /// Forgets everything, durably.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn erase(&self) -> Result<(), LogError> {
        match self.log.delete_topic(&self.topic).await {
            Ok(()) | Err(LogError::UnknownTopic { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where notes go; the topic is made where it is missing.
    pub(crate) async fn place(&self, id: &SourceId) -> Result<TopicPartition, Error> {
        let settings = TopicSettings {
            cleanup: Cleanup::Compact,
            ..TopicSettings::DEFAULT
        };
        let config = TopicConfig::new(1, Lifetime::Events).with(settings);
        let topic = self.log.ensure_topic(&self.topic, config).await;
        let topic = topic.map_err(|source| Error::Log {
            act: "create the memory",
            id: id.clone(),
            source,
        })?;
        let config = &topic.config;
        if config.lifetime == Lifetime::Events && config.settings.cleanup == Cleanup::Compact {
            return Ok(topic.name.partition(Partition::new(0)));
        }
        Err(Error::TopicTaken {
            id: id.clone(),
            topic: topic.name,
            reason: "it is not compacted, so that it is no memory of ours".to_owned(),
        })
    }
}

impl Recollection {
    /// The next notes, at least one; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Note>>, SourceError> {
        let Some(partition) = &self.partition else {
            return Ok(None);
        };
        loop {
            if let Some(batch) = self.read.pop_front() {
                let records = batch.records().map_err(|error| unread(partition, error))?;
                let notes = records.into_iter().filter_map(|stored| {
                    let key = stored.record.key?;
                    let value = stored.record.value;
                    Some(Note { key, value })
                });
                let notes: Vec<Note> = notes.collect();
                if !notes.is_empty() {
                    return Ok(Some(notes));
                }
                continue;
            }
            if self.next >= self.end {
                return Ok(None);
            }
            let chunk = self.log.read(partition, self.next, READ_BYTES).await;
            let chunk = chunk.map_err(|error| unread(partition, error))?;
            if chunk.next <= self.next {
                return Ok(None);
            }
            self.next = chunk.next;
            self.read = chunk.batches.into();
        }
    }
}

fn unread(partition: &TopicPartition, error: LogError) -> SourceError {
    let act = format!("read what is remembered in {partition}");
    match error {
        LogError::Corrupt { .. } | LogError::InvalidBatch { .. } => SourceError::Rejected {
            act,
            source: error.into(),
        },
        // The log's own words for the rest; it may be there again later.
        error => SourceError::Unavailable {
            act,
            source: error.into(),
        },
    }
}
