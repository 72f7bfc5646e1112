//! `tidemill billing`.

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clock::Timestamp;
use event_log::{Offset, Partition};
use http::Method;
use metering::{
    BillingRecord, Grouping, PriceSheet, RawRecord, Report, Span, UsageRecord, Verdict,
};

use crate::admin::{self, TopicLine};
use crate::cli::{self, BillingCommand, Format};
use crate::client::Client;
use crate::topics;

/// Bills are kept by the hour.
const HOUR_MS: i64 = 3_600_000;

/// Prints or checks the bill.
pub(crate) async fn run(arguments: cli::Billing) -> anyhow::Result<ExitCode> {
    let client = Client::find(&arguments.server)?;
    settle(&client).await?;
    match arguments.command {
        BillingCommand::Report(report) => print_report(&client, &report).await,
        BillingCommand::Verify => verify(&client).await,
    }
}

/// Has the server fold everything used so far into the billing topic.
pub(crate) async fn settle(client: &Client) -> anyhow::Result<()> {
    client
        .demand(
            admin::SERVICE,
            Method::POST,
            "/_tidemill/billing/settle",
            Bytes::new(),
        )
        .await
        .map(drop)
}

/// The bill as the billing topic has it.
pub(crate) async fn report(
    client: &Client,
    range: Option<Span>,
    sheet: PriceSheet,
) -> anyhow::Result<Report> {
    let records = read(client, BillingRecord::TOPIC)
        .await?
        .into_iter()
        .filter(|record| !record.value.is_empty())
        .map(|record| {
            serde_json::from_slice(&record.value).with_context(|| {
                format!(
                    "read the bill at {}-{}@{}",
                    BillingRecord::TOPIC,
                    record.partition,
                    record.offset
                )
            })
        })
        .collect::<anyhow::Result<Vec<BillingRecord>>>()?;
    Ok(Report::from_billing(records, range, sheet))
}

/// Counts raw usage again and holds the bills against it.
pub(crate) async fn recount(client: &Client) -> anyhow::Result<Verdict> {
    // Bills first: usage that arrives in between is then merely not billed yet.
    let billing = read(client, BillingRecord::TOPIC).await?;
    let usage = read(client, UsageRecord::TOPIC).await?;
    let kept_from = topics::kept_from(client, UsageRecord::TOPIC).await?;
    Ok(metering::recount(billing, usage, &kept_from))
}

#[expect(clippy::print_stdout, reason = "the command's own output")]
async fn print_report(client: &Client, arguments: &cli::Report) -> anyhow::Result<ExitCode> {
    let sheet = PriceSheet::named(&arguments.prices)?;
    let range = range(arguments)?;
    let report = report(client, range, sheet).await?;
    print!(
        "{}",
        match arguments.format {
            Format::Table => report.to_table(Grouping::Function),
            Format::Csv => report.to_csv(Grouping::Function),
            Format::Json => report.to_json(Grouping::Function),
            Format::Focus => report.to_focus(),
        }
    );
    Ok(ExitCode::SUCCESS)
}

fn range(arguments: &cli::Report) -> anyhow::Result<Option<Span>> {
    let moment = |text: &Option<String>, otherwise: Timestamp| match text {
        None => Ok(otherwise),
        Some(text) => Timestamp::parse_rfc3339(text)
            .filter(|at| at.as_millis() % HOUR_MS == 0)
            .ok_or_else(|| anyhow!("{text:?} is not a whole hour: write 2026-11-20T00:00:00Z")),
    };
    if arguments.from.is_none() && arguments.to.is_none() {
        return Ok(None);
    }
    let from = moment(&arguments.from, Timestamp::default())?;
    let to = moment(&arguments.to, Timestamp::from_millis(i64::MAX))?;
    if from >= to {
        bail!("--from {from} must be before --to {to}");
    }
    Ok(Some(Span {
        start: from,
        end: to,
    }))
}

#[expect(clippy::print_stdout, reason = "the command's own output")]
async fn verify(client: &Client) -> anyhow::Result<ExitCode> {
    let verdict = recount(client).await?;
    println!(
        "{} usage records ({} void, never charged) against {} bills: {} differences, {} duplicates, {} unreadable, {} not billed yet",
        verdict.usage_records,
        verdict.void,
        verdict.bills,
        verdict.differences.len(),
        verdict.duplicates.len(),
        verdict.unreadable.len(),
        verdict.unbilled,
    );
    for difference in &verdict.differences {
        println!(
            "{}: {}: counted {}, billed {}",
            difference.group, difference.field, difference.counted, difference.billed
        );
    }
    for duplicate in &verdict.duplicates {
        println!("usage id {duplicate} is in the log more than once");
    }
    for unreadable in &verdict.unreadable {
        println!("{unreadable}");
    }
    Ok(if verdict.is_exact() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A topic's records as metering takes them.
async fn read(client: &Client, topic: &str) -> anyhow::Result<Vec<RawRecord>> {
    let lines = topics::read(client, topic).await?;
    lines.into_iter().map(raw).collect()
}

fn raw(line: TopicLine) -> anyhow::Result<RawRecord> {
    Ok(RawRecord {
        partition: Partition::new(line.partition),
        offset: Offset::new(line.offset),
        value: match line.value {
            Some(value) => value.into_bytes()?,
            None => Bytes::new(),
        },
    })
}
