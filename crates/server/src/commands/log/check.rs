//! `tidemill log check`.

use std::io::Write;
use std::process::ExitCode;

use event_log::inspect::{Damage, Depth, Lost};
use serde::Serialize;

use super::{bar, bytes_in, open, size};
use crate::cli;

/// How the command ends when something is damaged.
const DAMAGED: u8 = 3;

#[derive(Serialize)]
struct Report<'a> {
    segments: usize,
    bytes: u64,
    topics: usize,
    partitions: usize,
    offsets: u64,
    sound: bool,
    damage: Vec<DamageLine<'a>>,
    lost: Vec<LostLine<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct DamageLine<'a> {
    file: &'a str,
    position: u64,
    bytes: u64,
    reason: &'a str,
}

#[derive(Serialize)]
struct LostLine<'a> {
    topic: &'a str,
    partition: u32,
    from: u64,
    to: u64,
    file: &'a str,
    position: u64,
}

/// Verifies everything and says what is wrong.
pub(super) fn run(arguments: &cli::Log, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let bytes = bytes_in(arguments);
    let frames = bar(bytes, "frames")?;
    let mut log = open(arguments, Depth::Everything, &frames)?;
    frames.finish_and_clear();
    let batches = bar(bytes, "batches")?;
    log.verify_batches(&|bytes| batches.inc(bytes));
    batches.finish_and_clear();

    let topics = log.topics();
    let places: Vec<_> = topics.iter().flat_map(|topic| topic.partitions()).collect();
    let bounds = places.iter().filter_map(|place| log.bounds(place).ok());
    let report = Report {
        segments: log.segments().len(),
        bytes: log.segments().iter().map(|segment| segment.bytes).sum(),
        topics: topics.len(),
        partitions: places.len(),
        offsets: bounds
            .map(|bounds| bounds.end.get() - bounds.start.get())
            .sum(),
        sound: log.damage().is_empty() && log.lost().is_empty(),
        damage: log.damage().iter().map(DamageLine::of).collect(),
        lost: log.lost().iter().map(LostLine::of).collect(),
        notes: log.notes(),
    };
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        report.print(out)?;
    }
    Ok(if report.sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DAMAGED)
    })
}

impl Report<'_> {
    fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        for damage in &self.damage {
            let range = match damage.bytes {
                0 => String::new(),
                bytes => format!(", {bytes} bytes"),
            };
            let DamageLine {
                file,
                position,
                reason,
                ..
            } = damage;
            writeln!(out, "damage: {file} at byte {position}{range}: {reason}")?;
        }
        for lost in &self.lost {
            let LostLine {
                topic,
                partition,
                from,
                to,
                file,
                position,
            } = lost;
            writeln!(
                out,
                "lost: {topic}-{partition} offsets {from}..{to}, in {file} at byte {position}"
            )?;
        }
        for note in self.notes {
            writeln!(out, "note: {note}")?;
        }
        let verdict = match (self.damage.len(), self.lost.len()) {
            (0, 0) => "all sound".to_owned(),
            (damage, lost) => format!(
                "{damage} damaged ranges, {} offsets lost in {lost} stretches",
                self.lost
                    .iter()
                    .map(|lost| lost.to - lost.from)
                    .sum::<u64>()
            ),
        };
        writeln!(
            out,
            "{} segments of {}, {} topics with {} partitions and {} offsets: {verdict}",
            self.segments,
            size(self.bytes),
            self.topics,
            self.partitions,
            self.offsets,
        )?;
        Ok(())
    }
}

impl<'a> DamageLine<'a> {
    fn of(damage: &'a Damage) -> Self {
        Self {
            file: &damage.file,
            position: damage.position,
            bytes: damage.bytes,
            reason: &damage.reason,
        }
    }
}

impl<'a> LostLine<'a> {
    fn of(lost: &'a Lost) -> Self {
        Self {
            topic: lost.partition.topic.as_str(),
            partition: lost.partition.partition.index(),
            from: lost.offsets.start.get(),
            to: lost.offsets.end.get(),
            file: &lost.file,
            position: lost.position,
        }
    }
}
