//! `tidemill log dump`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use event::Record;
use event_log::inspect::Depth;
use event_log::{BatchHeader, Error, Offset, Partition, StoredRecord, TopicName};
use serde::Serialize;

use super::{bar, bytes_in, open};
use crate::admin::Payload;
use crate::cli;

/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;

#[derive(Serialize)]
struct Line {
    offset: u64,
    time: String,
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
    header_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Payload>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, Option<Payload>)>,
}

/// Whether the contents of records are shown.
#[derive(Clone, Copy)]
enum Contents {
    Hidden,
    Shown,
}

/// Prints the records of one partition; damage in between is named and passed over.
pub(super) fn run(
    arguments: &cli::Log,
    dump: &cli::Dump,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let contents = if dump.values {
        Contents::Shown
    } else {
        Contents::Hidden
    };
    let bar = bar(bytes_in(arguments), "segments")?;
    let log = open(arguments, Depth::AsStarted, &bar)?;
    bar.finish_and_clear();
    let place = TopicName::new(&dump.topic)?.partition(Partition::new(dump.partition));
    let bounds = log.bounds(&place)?;
    let mut next = dump.from.map_or(bounds.start, Offset::new);
    let mut left = dump.limit.unwrap_or(u64::MAX);
    let mut damaged = false;
    while next < bounds.end && left > 0 {
        let chunk = match log.read(&place, next, READ_BYTES) {
            Ok(chunk) => chunk,
            Err(error @ Error::Corrupt { .. }) => {
                damaged = true;
                let lost = log
                    .lost()
                    .iter()
                    .find(|lost| lost.partition == place && lost.offsets.contains(&next));
                let to = lost.map_or(next.next(), |lost| lost.offsets.end);
                print_damage(arguments, next, to, &error, out)?;
                next = to;
                continue;
            }
            Err(other) => return Err(other).context(format!("read {place} at {next}")),
        };
        for batch in &chunk.batches {
            let records = batch.records().with_context(|| {
                format!("decode the batch of {place} at {}", batch.base_offset())
            })?;
            for stored in records.iter().filter(|stored| stored.offset >= next) {
                if left == 0 {
                    break;
                }
                left -= 1;
                let line = Line::of(batch.header(), stored, contents);
                if arguments.json {
                    serde_json::to_writer(&mut *out, &line)?;
                    writeln!(out)?;
                } else {
                    line.print(out)?;
                }
            }
        }
        next = chunk.next.max(next.next());
    }
    Ok(if damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print_damage(
    arguments: &cli::Log,
    from: Offset,
    to: Offset,
    error: &Error,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if arguments.json {
        let line =
            serde_json::json!({"from": from.get(), "to": to.get(), "damage": error.to_string()});
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{from}..{to}  {error}")?;
    }
    Ok(())
}

impl Line {
    fn of(header: &BatchHeader, stored: &StoredRecord, contents: Contents) -> Self {
        let record: &Record = &stored.record;
        let shown = |bytes: &Option<bytes::Bytes>| match contents {
            Contents::Shown => bytes.clone().map(Payload::of),
            Contents::Hidden => None,
        };
        Self {
            offset: stored.offset.get(),
            time: record.timestamp.to_string(),
            key_bytes: record.key.as_ref().map(bytes::Bytes::len),
            value_bytes: record.value.as_ref().map(bytes::Bytes::len),
            header_names: record
                .headers
                .iter()
                .map(|header| header.key.clone())
                .collect(),
            producer: header.producer.map(|producer| producer.id),
            key: shown(&record.key),
            value: shown(&record.value),
            headers: match contents {
                Contents::Hidden => Vec::new(),
                Contents::Shown => record
                    .headers
                    .iter()
                    .map(|header| (header.key.clone(), shown(&header.value)))
                    .collect(),
            },
        }
    }

    fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let len =
            |bytes: Option<usize>| bytes.map_or("none".to_owned(), |bytes| format!("{bytes} B"));
        write!(
            out,
            "{}  {}  key {}, value {}",
            self.offset,
            self.time,
            len(self.key_bytes),
            len(self.value_bytes)
        )?;
        if let Some(producer) = self.producer {
            write!(out, ", producer {producer}")?;
        }
        if self.headers.is_empty() && !self.header_names.is_empty() {
            let names = self.header_names.join(" ");
            write!(out, ", headers {}", names.escape_debug())?;
        }
        writeln!(out)?;
        let text = |payload: &Payload| match payload {
            // What somebody wrote must not steer the terminal.
            Payload::Text(text) => text.escape_debug().to_string(),
            Payload::Base64(text) => format!("base64 {text}"),
        };
        for (name, value) in &self.headers {
            writeln!(
                out,
                "    {}: {}",
                name.escape_debug(),
                value.as_ref().map(text).unwrap_or_default()
            )?;
        }
        for (what, payload) in [("key", &self.key), ("value", &self.value)] {
            if let Some(payload) = payload {
                writeln!(out, "    {what} = {}", text(payload))?;
            }
        }
        Ok(())
    }
}
