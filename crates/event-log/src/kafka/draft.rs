//! What a request writes, once it has been found to be allowed.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use event::Header;

use super::client::Names;
use super::committer::Command;
use super::fact::{Fact, Subject, TopicFact};
use super::member::Standing;
use super::places::index;
use super::times;
use super::view::View;
use crate::ledger::Change;
use crate::{
    ConsumerId, Epoch, Error, Lifetime, OwnerId, Settlement, Share, TopicConfig, TopicName,
    TopicPartition,
};

/// The records of one request.
pub(super) struct Draft {
    pub(super) command: Command,
    pub(super) outputs: Vec<Output>,
    /// Whose generation must stand behind it.
    pub(super) needs: Share,
    pub(super) answer: Answer,
}

/// One record to write.
pub(super) struct Output {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<Header>,
    pub(super) timestamp: Option<i64>,
    pub(super) of: Of,
}

/// What a record is.
pub(super) enum Of {
    Place(TopicPartition),
    Fact(Fact),
}

/// What the caller will be told.
pub(super) enum Answer {
    /// For each append the index of its first record.
    Settled(Vec<usize>),
    Epoch(Epoch),
    Done,
}

/// What earlier requests of the same transaction write: what they change cannot be judged again
/// before they are committed.
#[derive(Default)]
pub(super) struct Touched {
    subjects: HashSet<Subject>,
    newcomers: HashSet<ConsumerId>,
}

impl Touched {
    /// Whether a settlement must wait for an earlier one; from now on, others must wait for it.
    pub(super) fn by(&mut self, settlement: &Settlement, view: &View) -> bool {
        let mut waits = false;
        for update in &settlement.checkpoints {
            let subject = Subject::Checkpoint(update.consumer.clone(), update.partition.clone());
            // Twice in one settlement is for the judge to refuse.
            waits |= self.subjects.contains(&subject);
            if view.ledger.home(&update.consumer).is_none() {
                waits |= self.newcomers.contains(&update.consumer);
            }
        }
        for update in &settlement.positions {
            waits |= self
                .subjects
                .contains(&Subject::Position(update.source.clone()));
        }
        for update in &settlement.checkpoints {
            let (consumer, partition) = (update.consumer.clone(), update.partition.clone());
            self.newcomers.insert(consumer.clone());
            self.subjects
                .insert(Subject::Checkpoint(consumer, partition));
        }
        for update in &settlement.positions {
            self.subjects
                .insert(Subject::Position(update.source.clone()));
        }
        waits
    }
}

impl Draft {
    pub(super) fn settlement(
        settlement: &Settlement,
        view: &View,
        standing: &Standing,
        names: &Names,
        now: Timestamp,
    ) -> Result<(Vec<Output>, Share, Answer), Error> {
        standing.held.covers(settlement)?;
        let home = view.ledger.home_of(settlement)?;
        view.ledger.judge_content(settlement)?;
        let judged = view.ledger.judge_settlement(settlement)?;
        let (mut outputs, mut firsts) = (Vec::new(), Vec::new());
        for append in &settlement.appends {
            let header = append.batch.header();
            if header.producer.is_some() || header.is_transactional() || header.is_control() {
                return Err(Error::Unsupported {
                    what: "a log on Kafka keeps no idempotent producers: they write to Kafka itself",
                });
            }
            firsts.push(outputs.len());
            let topic = names.outside(&append.to.topic);
            for stored in append.batch.records()? {
                let record = times::outside(stored.record, now);
                outputs.push(Output {
                    topic: Arc::clone(&topic),
                    partition: index(&append.to),
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                    timestamp: Some(record.timestamp.as_millis()),
                    of: Of::Place(append.to.clone()),
                });
            }
        }
        let mut needs = Share::none();
        for change in judged.changes {
            if let Some(fact) = fact(change, home, view) {
                needs = fact.shard().map_or(needs, |shard| needs.with(shard));
                outputs.push(Output::of(fact, names));
            }
        }
        Ok((outputs, needs, Answer::Settled(firsts)))
    }

    /// The node's name into every shard that it was given and does not hold.
    pub(super) fn take(standing: &Standing, holder: &super::fact::Holder, names: &Names) -> Self {
        let needs = standing.assigned.but(standing.held);
        let fact = |shard| Fact::Holder {
            shard,
            holder: holder.clone(),
        };
        Self {
            command: Command::Wake,
            outputs: needs
                .shards()
                .map(|shard| Output::of(fact(shard), names))
                .collect(),
            needs,
            answer: Answer::Done,
        }
    }

    pub(super) fn epoch(
        owner: &OwnerId,
        view: &View,
        node: &str,
        names: &Names,
    ) -> (Vec<Output>, Share, Answer) {
        let epoch = view.ledger.judge_epoch(owner).answer;
        let fact = Fact::Epoch {
            node: node.to_owned(),
            owner: owner.clone(),
            epoch,
        };
        (
            vec![Output::of(fact, names)],
            Share::none(),
            Answer::Epoch(epoch),
        )
    }

    /// Tombstones for the checkpoints of a consumer that are held.
    pub(super) fn forgetting(
        consumer: &ConsumerId,
        view: &View,
        standing: &Standing,
        names: &Names,
    ) -> (Vec<Output>, Share, Answer) {
        let places = view.ledger.checkpoints(consumer);
        let places = places.into_iter().map(|(place, _)| place);
        let held = places.filter(|place| standing.held.holds(consumer, place));
        let outputs = held.map(|place| tombstone(consumer, place, names));
        counted(outputs.collect())
    }

    /// A topic as it is now configured; `None` for one that is no more.
    pub(super) fn configuration(
        name: &TopicName,
        config: Option<TopicConfig>,
        view: &View,
        names: &Names,
    ) -> (Vec<Output>, Share, Answer) {
        let topic = TopicFact {
            config,
            ending: false,
            ..view.topic_fact(name)
        };
        let name = name.clone();
        counted(vec![Output::of(Fact::Topic { name, topic }, names)])
    }

    /// The end of a topic, and of the held checkpoints on it.
    pub(super) fn ending(
        name: &TopicName,
        incarnation: u64,
        view: &View,
        standing: &Standing,
        names: &Names,
    ) -> (Vec<Output>, Share, Answer) {
        let topic = TopicFact {
            incarnation: incarnation + 1,
            config: None,
            ending: true,
        };
        let mut outputs = Vec::new();
        if view.topic_fact(name).incarnation == incarnation {
            for consumer in view.ledger.consumers() {
                let places = view.ledger.checkpoints(consumer).into_iter();
                let on_it = places
                    .map(|(place, _)| place)
                    .filter(|place| place.topic == *name && standing.held.holds(consumer, place));
                outputs.extend(on_it.map(|place| tombstone(consumer, place, names)));
            }
            let name = name.clone();
            outputs.push(Output::of(Fact::Topic { name, topic }, names));
        }
        counted(outputs)
    }

    pub(super) fn entry(fact: Fact, names: &Names) -> (Vec<Output>, Share, Answer) {
        counted(vec![Output::of(fact, names)])
    }
}

fn counted(outputs: Vec<Output>) -> (Vec<Output>, Share, Answer) {
    let shard = |output: &Output| match &output.of {
        Of::Fact(fact) => fact.shard(),
        Of::Place(_) => None,
    };
    let needs = outputs.iter().filter_map(shard).collect();
    (outputs, needs, Answer::Done)
}

fn tombstone(consumer: &ConsumerId, partition: TopicPartition, names: &Names) -> Output {
    let fact = Fact::Checkpoint {
        consumer: consumer.clone(),
        partition,
        incarnation: 0,
        home: Lifetime::Events,
        checkpoint: None,
    };
    Output::of(fact, names)
}

fn fact(change: Change, home: Lifetime, view: &View) -> Option<Fact> {
    match change {
        Change::Checkpointed {
            consumer,
            key,
            checkpoint,
        } => {
            let partition = view.ledger.place(key)?;
            Some(Fact::Checkpoint {
                incarnation: view.topic_fact(&partition.topic).incarnation,
                consumer,
                partition,
                home,
                checkpoint: Some(checkpoint),
            })
        }
        Change::Positioned { source, position } => Some(Fact::Position {
            source,
            home,
            position,
        }),
        _ => None,
    }
}

impl Output {
    fn of(fact: Fact, names: &Names) -> Self {
        let (key, value) = fact.encode();
        let (topic, partition) = match fact.shard() {
            Some(shard) => (&names.checkpoints, shard.index()),
            None => (&names.control, 0),
        };
        Self {
            topic: Arc::clone(topic),
            partition: i32::try_from(partition).unwrap_or(i32::MAX),
            key: Some(key),
            value,
            headers: Vec::new(),
            timestamp: None,
            of: Of::Fact(fact),
        }
    }
}
