//! `tidemill log stat`.

use std::io::Write;
use std::process::ExitCode;

use event_log::inspect::{Depth, Inspection};
use event_log::{Lifetime, Topic};
use serde::Serialize;

use super::{bar, bytes_in, open, size};
use crate::cli;

#[derive(Serialize)]
struct Stat {
    topics: Vec<TopicLine>,
    checkpoints: Vec<CheckpointLine>,
    segments: Vec<SegmentLine>,
    damage: usize,
}

#[derive(Serialize)]
struct TopicLine {
    topic: String,
    lifetime: Lifetime,
    partitions: Vec<PartitionLine>,
}

#[derive(Serialize)]
struct PartitionLine {
    partition: u32,
    first: u64,
    end: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct CheckpointLine {
    consumer: String,
    topic: String,
    partition: u32,
    next: u64,
    finished_above: u64,
    revision: u64,
}

#[derive(Serialize)]
struct SegmentLine {
    file: String,
    bytes: u64,
    created: String,
}

/// Prints what a start would find.
pub(super) fn run(arguments: &cli::Log, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let bar = bar(bytes_in(arguments), "segments")?;
    let log = open(arguments, Depth::AsStarted, &bar)?;
    bar.finish_and_clear();
    let stat = Stat::of(&log)?;
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &stat)?;
        writeln!(out)?;
    } else {
        stat.print(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Stat {
    fn of(log: &Inspection) -> anyhow::Result<Self> {
        let topics = log.topics();
        let topics = topics.iter().map(|topic| TopicLine::of(log, topic));
        let checkpoints = log.checkpoints().into_iter();
        let checkpoints = checkpoints.map(|(consumer, place, checkpoint)| {
            let above = checkpoint.finished_above.iter();
            CheckpointLine {
                consumer: consumer.to_string(),
                topic: place.topic.to_string(),
                partition: place.partition.index(),
                next: checkpoint.next.get(),
                finished_above: above.map(|range| range.end.get() - range.start.get()).sum(),
                revision: checkpoint.revision,
            }
        });
        let segments = log.segments().iter().map(|segment| SegmentLine {
            file: segment.file.clone(),
            bytes: segment.bytes,
            created: segment.created.to_string(),
        });
        Ok(Self {
            topics: topics.collect::<anyhow::Result<_>>()?,
            checkpoints: checkpoints.collect(),
            segments: segments.collect(),
            damage: log.damage().len(),
        })
    }

    fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        writeln!(
            out,
            "{:<36} {:>9} {:>14} {:>14} {:>12}",
            "TOPIC", "PARTITION", "FIRST", "END", "BYTES"
        )?;
        for topic in &self.topics {
            for partition in &topic.partitions {
                writeln!(
                    out,
                    "{:<36} {:>9} {:>14} {:>14} {:>12}",
                    topic.topic,
                    partition.partition,
                    partition.first,
                    partition.end,
                    size(partition.bytes)
                )?;
            }
        }
        if !self.checkpoints.is_empty() {
            writeln!(
                out,
                "\n{:<44} {:<32} {:>12} {:>9} {:>9}",
                "CONSUMER", "PARTITION", "NEXT", "ABOVE", "REVISION"
            )?;
        }
        for line in &self.checkpoints {
            writeln!(
                out,
                "{:<44} {:<32} {:>12} {:>9} {:>9}",
                line.consumer,
                format!("{}-{}", line.topic, line.partition),
                line.next,
                line.finished_above,
                line.revision
            )?;
        }
        writeln!(out, "\n{:<44} {:>12}  BEGUN", "SEGMENT", "BYTES")?;
        for segment in &self.segments {
            writeln!(
                out,
                "{:<44} {:>12}  {}",
                segment.file,
                size(segment.bytes),
                segment.created
            )?;
        }
        if self.damage > 0 {
            writeln!(
                out,
                "\n{} damaged ranges: `tidemill log check` names them",
                self.damage
            )?;
        }
        Ok(())
    }
}

impl TopicLine {
    fn of(log: &Inspection, topic: &Topic) -> anyhow::Result<Self> {
        let partitions = topic.partitions().map(|place| {
            let bounds = log.bounds(&place)?;
            Ok(PartitionLine {
                partition: place.partition.index(),
                first: bounds.start.get(),
                end: bounds.end.get(),
                bytes: log.bytes(&place)?,
            })
        });
        Ok(Self {
            topic: topic.name.to_string(),
            lifetime: topic.config.lifetime,
            partitions: partitions.collect::<anyhow::Result<_>>()?,
        })
    }
}
