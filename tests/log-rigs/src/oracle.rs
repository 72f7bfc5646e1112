//! What must be true of a log after a crash, given what the workload said.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use event::SourceId;
use event_log::{ConsumerId, EventLog, Offset, Partition, TopicName, TopicPartition};

use crate::{KEEPER, PRODUCER, Plan, Planned, Resend, Said, WRITERS, open, topics};

/// What was attempted, what was acknowledged, and what has been seen in the log since.
#[derive(Clone, Debug)]
pub struct Oracle {
    plan: Plan,
    writers: BTreeMap<u32, Progress>,
    /// Where records lie that were acknowledged or seen: by writer, settlement and append.
    placed: BTreeMap<(u32, u64, usize), Offset>,
    epochs: BTreeMap<u32, u64>,
    producer: Option<i64>,
    churned: BTreeMap<u64, Churned>,
    firsts: BTreeMap<TopicPartition, Offset>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    attempted: u64,
    /// Acknowledged, or found after a crash: what readers have seen must stay.
    promised: u64,
    /// Attempts after the power was cut.
    late: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Churned {
    Creating,
    Created,
    Deleting,
    Deleted,
    /// Whatever it was, the power was cut while it changed.
    Unsure,
}

/// What an oracle found in a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    /// Settlements that the log holds, or held before retention.
    pub settlements: u64,
    /// Settlements in flight when the crash came that are there whole.
    pub undecided_kept: u64,
    /// Settlements in flight when the crash came that are not there at all.
    pub undecided_lost: u64,
}

impl Oracle {
    /// An oracle for an empty log.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            plan: Plan(seed),
            writers: (0..WRITERS)
                .map(|writer| (writer, Progress::default()))
                .collect(),
            placed: BTreeMap::new(),
            epochs: BTreeMap::new(),
            producer: None,
            churned: BTreeMap::new(),
            firsts: BTreeMap::new(),
        }
    }

    /// Settlements that were acknowledged.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.writers.values().map(|writer| writer.promised).sum()
    }

    /// The number from which on no topic has come and gone.
    #[must_use]
    pub fn churn_from(&self) -> u64 {
        self.churned.keys().last().map_or(0, |last| last + 1)
    }

    /// What the idempotent producer repeats when it comes back.
    #[must_use]
    pub fn resend(&self) -> Option<Resend> {
        Some(Resend {
            producer: self.producer?,
            from: self.writers[&PRODUCER].promised.max(1),
        })
    }

    /// Takes note of a line.
    ///
    /// # Errors
    /// The log has answered what it must never answer.
    pub fn hear(&mut self, said: &Said) -> Result<()> {
        match said {
            Said::Sending(writer, seq) => {
                let progress = self.progress(*writer)?;
                progress.attempted = progress.attempted.max(*seq);
            }
            Said::Settled(writer, seq, bases) => self.settled(*writer, *seq, bases)?,
            Said::Epoch(writer, epoch) => {
                let before = self.epochs.insert(*writer, *epoch).unwrap_or(0);
                ensure!(
                    *epoch > before,
                    "epoch {epoch} of {writer} follows {before}"
                );
            }
            Said::Producer(id) => {
                ensure!(
                    self.producer.is_none_or(|producer| producer == *id),
                    "a producer asked for an id again"
                );
                self.producer = Some(*id);
            }
            Said::Creating(number) => self.churn(*number, Churned::Creating),
            Said::Created(number) => self.churn(*number, Churned::Created),
            Said::Deleting(number) => self.churn(*number, Churned::Deleting),
            Said::Deleted(number) => self.churn(*number, Churned::Deleted),
            Said::Ready | Said::Held | Said::Points(_) | Said::Done => {}
        }
        Ok(())
    }

    /// Takes note of a line that a process said after its disk had lost power. What it attempted may
    /// be found; what it was told is no promise, since there was no disk behind it.
    pub fn hear_late(&mut self, said: &Said) {
        match said {
            Said::Sending(writer, seq) => {
                if let Some(progress) = self.writers.get_mut(writer) {
                    progress.attempted = progress.attempted.max(*seq);
                    progress.late += 1;
                }
            }
            Said::Producer(id) => self.producer = Some(*id),
            Said::Creating(number)
            | Said::Created(number)
            | Said::Deleting(number)
            | Said::Deleted(number) => self.churn(*number, Churned::Unsure),
            Said::Settled(..)
            | Said::Epoch(..)
            | Said::Ready
            | Said::Held
            | Said::Points(_)
            | Said::Done => {}
        }
    }

    fn churn(&mut self, number: u64, state: Churned) {
        self.churned.insert(number, state);
    }

    fn progress(&mut self, writer: u32) -> Result<&mut Progress> {
        self.writers.get_mut(&writer).context("a known writer")
    }

    fn settled(&mut self, writer: u32, seq: u64, bases: &[u64]) -> Result<()> {
        let progress = self.progress(writer)?;
        ensure!(
            seq <= progress.promised + 1,
            "{writer}.{seq} was acknowledged out of turn"
        );
        progress.promised = progress.promised.max(seq);
        for (append, base) in bases.iter().enumerate() {
            self.place((writer, seq, append), Offset::new(*base))?;
        }
        Ok(())
    }

    fn place(&mut self, id: (u32, u64, usize), base: Offset) -> Result<()> {
        let before = *self.placed.entry(id).or_insert(base);
        ensure!(before == base, "{id:?} was at {before} and is at {base}");
        Ok(())
    }

    /// Opens the log and demands of it everything that was promised, and nothing that was not
    /// attempted.
    ///
    /// # Errors
    /// Says what is wrong.
    pub async fn check(&mut self, dir: &Path, retention_bytes: Option<u64>) -> Result<Findings> {
        let log = open(dir, retention_bytes)?;
        let findings = self.check_log(&*log).await;
        log.close().await;
        findings
    }

    /// Like [`check`](Self::check), on a log that is open.
    ///
    /// # Errors
    /// As `check`.
    pub async fn check_log(&mut self, log: &dyn EventLog) -> Result<Findings> {
        self.check_churned(log).await?;
        let mut contents = BTreeMap::new();
        for (name, config) in topics() {
            let Some(topic) = log.topic(&name) else {
                let promised: u64 = self.promised();
                ensure!(promised == 0, "{name} is gone");
                continue;
            };
            ensure!(topic.config == config, "{name} has another configuration");
            for place in topic.partitions() {
                let values = read(log, &place).await.context(place.to_string())?;
                let before = self.firsts.insert(place.clone(), values.first);
                ensure!(
                    before.is_none_or(|before| before <= values.first),
                    "{place} begins earlier than before"
                );
                contents.insert(place, values);
            }
        }
        let mut findings = Findings::default();
        for writer in 0..WRITERS {
            self.check_writer(log, writer, &mut contents, &mut findings)
                .with_context(|| format!("writer {writer}"))?;
        }
        for (place, contents) in &contents {
            let left = contents.values.iter().find(|(_, value)| value.is_some());
            ensure!(
                left.is_none(),
                "{place} holds what was never sent, or twice: {:?}",
                left.map(|(offset, value)| (offset, value.as_deref().map(id_of)))
            );
        }
        Ok(findings)
    }

    async fn check_churned(&self, log: &dyn EventLog) -> Result<()> {
        for (number, state) in &self.churned {
            let planned = self.plan.churned(*number);
            let exists = log.topic(&planned.to.topic).is_some();
            match state {
                Churned::Creating | Churned::Deleting | Churned::Unsure => {}
                Churned::Created => ensure!(exists, "{} is gone", planned.to),
                Churned::Deleted => ensure!(!exists, "{} is back", planned.to),
            }
            if !exists {
                continue;
            }
            let found = read(log, &planned.to).await?;
            let removed = found.first > Offset::ZERO;
            let found: Vec<_> = found.values.values().flatten().collect();
            let whole = found == planned.values.iter().collect::<Vec<_>>();
            let record_promised = *state == Churned::Deleting && !removed;
            ensure!(
                whole || (found.is_empty() && !record_promised),
                "{} holds {found:?}",
                planned.to
            );
        }
        Ok(())
    }

    /// A writer sends one settlement after the other: those that are there are the first ones, each
    /// whole and in its place, up to one in flight; checkpoint and position name the last of them.
    fn check_writer(
        &mut self,
        log: &dyn EventLog,
        writer: u32,
        contents: &mut BTreeMap<TopicPartition, Contents>,
        findings: &mut Findings,
    ) -> Result<()> {
        let progress = *self.progress(writer)?;
        let last = if writer == PRODUCER {
            last_of(writer, contents).max(progress.promised)
        } else {
            self.check_checkpoint(log, writer)?
        };
        ensure!(
            last >= progress.promised,
            "{} were promised, {last} are there",
            progress.promised
        );
        ensure!(
            last <= progress.attempted,
            "{} were attempted, {last} are there",
            progress.attempted
        );
        ensure!(
            progress.attempted <= progress.promised + 1 + progress.late,
            "one settlement is in flight at a time"
        );
        let mut order: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
        if writer == KEEPER {
            self.check_kept(last, contents)?;
        }
        let each = if writer == KEEPER { 0 } else { last };
        for seq in 1..=each {
            for (append, planned) in self.plan.appends(writer, seq).into_iter().enumerate() {
                let id = (writer, seq, append);
                let contents = contents.get_mut(&planned.to).context("the topic is gone")?;
                let found = self.take(id, &planned.values, contents)?;
                let Some(base) = found else { continue };
                let before = order.insert(planned.to.clone(), base);
                ensure!(before.is_none_or(|before| before < base), "order at {id:?}");
                self.place(id, base)?;
            }
        }
        findings.settlements += last;
        if progress.attempted > progress.promised {
            findings.undecided_kept += u64::from(last == progress.attempted);
            findings.undecided_lost += u64::from(last < progress.attempted);
        }
        // What was lost is sent again under the same number.
        *self.progress(writer)? = Progress {
            attempted: last,
            promised: last,
            late: 0,
        };
        Ok(())
    }

    /// Of the topic that is compacted the latest record of each key is there; whatever else is there
    /// is what was written to that place.
    fn check_kept(
        &mut self,
        last: u64,
        contents: &mut BTreeMap<TopicPartition, Contents>,
    ) -> Result<()> {
        let mut planned = Vec::new();
        let mut latest = BTreeMap::new();
        for seq in 1..=last {
            let appends = self.plan.appends(KEEPER, seq).into_iter().enumerate();
            for (append, Planned { values, .. }) in appends {
                self.place((KEEPER, seq, append), Offset::new(planned.len() as u64))?;
                for value in values {
                    latest.insert(Plan::key(&value), planned.len());
                    planned.push(value);
                }
            }
        }
        let mut kept = contents.iter_mut();
        let kept = kept.find(|(place, _)| place.topic.as_str() == "rig.kept");
        let Some((place, kept)) = kept else {
            ensure!(last == 0, "the compacted topic is gone");
            return Ok(());
        };
        ensure!(
            kept.end.get() == planned.len() as u64,
            "{place} ends at {}, {} records were written",
            kept.end,
            planned.len()
        );
        for (key, at) in latest {
            let there = kept.values.contains_key(&Offset::new(at as u64));
            ensure!(
                there,
                "the latest record of {key}, at {at} of {place}, is gone"
            );
        }
        for (offset, value) in &mut kept.values {
            let found = value.take();
            ensure!(
                found.as_ref() == planned.get(offset.get() as usize),
                "{place} reads {:?} at {offset}",
                found.as_deref().map(id_of)
            );
        }
        Ok(())
    }

    fn check_checkpoint(&self, log: &dyn EventLog, writer: u32) -> Result<u64> {
        let cursors = TopicName::new("rig.cursors")?.partition(Partition::new(writer));
        let consumer = ConsumerId::new(format!("rig/{writer}"));
        let checkpoint = log.checkpoint(&consumer, &cursors).unwrap_or_default();
        let seq = checkpoint.revision;
        let position = log.position(&SourceId::new(format!("rig/{writer}")));
        let expected = (seq > 0).then(|| seq.to_string());
        ensure!(
            position
                .as_ref()
                .map(|position| position.as_bytes().as_ref())
                == expected.as_ref().map(String::as_bytes),
            "the position is not that of settlement {seq}"
        );
        ensure!(
            checkpoint.next == Offset::new(seq)
                && checkpoint.metadata == expected.unwrap_or_default(),
            "the checkpoint {checkpoint:?} contradicts itself"
        );
        Ok(seq)
    }

    /// Takes an append's records out of a partition. `None` when retention has removed them.
    fn take(
        &self,
        id: (u32, u64, usize),
        values: &[String],
        contents: &mut Contents,
    ) -> Result<Option<Offset>> {
        let found = contents
            .places
            .remove(values.first().map_or("", |value| id_of(value)));
        let Some(base) = found else {
            let known = self.placed.get(&id);
            let removed = known.is_some_and(|base| *base < contents.first)
                || (known.is_none() && contents.first > Offset::ZERO);
            ensure!(removed, "{id:?} is missing");
            return Ok(None);
        };
        for (offset, value) in (base.get()..).zip(values) {
            let found = contents.values.get_mut(&Offset::new(offset));
            let found = found.and_then(Option::take);
            ensure!(
                found.as_ref() == Some(value),
                "{id:?} at {offset} reads {:?}",
                found.as_deref().map(id_of)
            );
        }
        Ok(Some(base))
    }
}

/// What a partition holds.
struct Contents {
    first: Offset,
    end: Offset,
    /// Values by offset; taken out as they are accounted for.
    values: BTreeMap<Offset, Option<String>>,
    /// Offsets by the id that a value begins with.
    places: BTreeMap<String, Offset>,
}

/// Reads a whole partition; every batch must be sound and, but where a topic is compacted, offsets
/// dense.
async fn read(log: &dyn EventLog, place: &TopicPartition) -> Result<Contents> {
    let bounds = log.bounds(place)?;
    let compacted = place.topic.as_str() == "rig.kept";
    let mut contents = Contents {
        first: bounds.start,
        end: bounds.end,
        values: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    let mut next = bounds.start;
    while next < bounds.end {
        let chunk = log.read(place, next, 1 << 20).await?;
        let from = next;
        for stored in chunk.batches.iter().map(|batch| batch.records()) {
            for stored in stored? {
                if stored.offset < next {
                    continue; // A partition may begin within a batch.
                }
                ensure!(compacted || stored.offset == next, "{next} is skipped");
                let value = stored.record.value.context("a value")?;
                let value = String::from_utf8(value.into())?;
                let twice = contents
                    .places
                    .insert(id_of(&value).to_owned(), stored.offset);
                ensure!(twice.is_none(), "{} is there twice", id_of(&value));
                next = stored.offset.next();
                contents.values.insert(stored.offset, Some(value));
            }
        }
        ensure!(chunk.next > from, "a read at {from} goes nowhere");
        ensure!(
            chunk.next == next || (compacted && chunk.next > next),
            "a read goes on at {} after {next}",
            chunk.next
        );
        next = chunk.next;
    }
    ensure!(next == bounds.end, "more was read than there is");
    Ok(contents)
}

fn id_of(value: &str) -> &str {
    value.split_once(':').map_or(value, |(id, _)| id)
}

/// The last settlement of a writer of which something is there.
fn last_of(writer: u32, contents: &BTreeMap<TopicPartition, Contents>) -> u64 {
    let ids = contents
        .values()
        .flat_map(|contents| contents.places.keys());
    let seqs = ids.filter_map(|id| {
        let (by, rest) = id.split_once('.')?;
        (by.parse() == Ok(writer)).then_some(())?;
        rest.split_once('.')?.0.parse().ok()
    });
    seqs.max().unwrap_or(0)
}
