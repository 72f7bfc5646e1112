//! Reports for people.

use std::fmt::Write;

use super::{HintsReport, Report, SourceReport};

/// One line each.
pub(crate) fn to_list(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "There are no connectors; `tidemill connector add --help` shows how to have some.\n"
            .to_owned();
    }
    let mut text = format!(
        "{:<20} {:<9} {:<9} {:<10} {}\n",
        "NAME", "KIND", "ORIGIN", "STATE", "READS"
    );
    for report in reports {
        let _ = writeln!(
            text,
            "{:<20} {:<9} {:<9} {:<10} {}",
            report.name, report.kind, report.origin, report.state, report.reads
        );
        for stream in &report.streams {
            let _ = writeln!(text, "  stream {stream}");
        }
        if report.streams.is_empty() {
            for topic in &report.topics {
                let _ = writeln!(text, "  topic {topic}");
            }
        }
    }
    text
}

/// All that is known, for people.
pub(crate) fn to_text(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let _ = writeln!(text, "{} ({}, {})", report.name, report.kind, report.origin);
        let _ = writeln!(text, "  state     {}", report.state);
        let _ = writeln!(text, "  reads     {}", report.reads);
        for topic in &report.topics {
            let _ = writeln!(text, "  topic     {topic}");
        }
        for stream in &report.streams {
            let _ = writeln!(text, "  stream    {stream}");
        }
        for source in &report.sources {
            let _ = writeln!(text, "  source    {}: {}", source.source, source.state);
            let position = source.position.as_deref().unwrap_or("nothing read yet");
            let _ = writeln!(text, "  position  {position}");
            let _ = writeln!(text, "  lag       {}", lag(source));
            for (name, told) in [
                ("gaps     ", &source.gaps),
                ("truncated", &source.truncations),
            ] {
                if let (Some(last), Some(at)) = (&told.last, &told.last_at) {
                    let _ = writeln!(text, "  {name} {}, the last at {at}: {last}", told.count);
                }
            }
            if let Some(error) = &source.error {
                let _ = writeln!(text, "  trouble   {error}");
            }
        }
        for absent in &report.absent {
            let _ = writeln!(
                text,
                "  absent    {}: {} (since {})",
                absent.what, absent.why, absent.since
            );
        }
        if let Some(hints) = &report.hints {
            let _ = writeln!(text, "  hints     {}", told_by(hints));
        }
        if let Some(error) = &report.last_error {
            let at = report.last_error_at.as_deref().unwrap_or_default();
            let _ = writeln!(text, "  error     {error} ({at})");
        }
        if let Some(advice) = &report.advice {
            let _ = writeln!(text, "  to do     {advice}");
        }
    }
    text
}

fn lag(source: &SourceReport) -> String {
    let mut parts = Vec::new();
    if let Some(events) = source.lag_events {
        parts.push(format!("{events} events wait"));
    }
    if let Some(bytes) = source.lag_bytes {
        parts.push(format!("{bytes} bytes wait"));
    }
    if let Some(seconds) = source.lag_seconds {
        parts.push(format!("the last event came after {seconds:.1} s"));
    }
    parts.push(format!("{} events since the start", source.events));
    parts.join(", ")
}

fn told_by(hints: &HintsReport) -> String {
    let mut text = format!("by {}", hints.from);
    if let (Some(since), Some(error)) = (&hints.broken_since, &hints.error) {
        let _ = write!(
            text,
            "; none since {since}, so that changes are found by listing: {error}"
        );
    }
    if let Some(refusal) = &hints.refusal {
        let _ = write!(
            text,
            "; {} times what came is passed over, the last because {refusal}",
            hints.refused
        );
    }
    text
}
