//! `tidemill demo`: the main job on real files, from an empty folder to the bill.
//!
//! It uses what users have: the Lambda API and S3 over HTTP with signatures, a Kafka producer, and
//! the billing topic. Nothing here reaches into the server.

mod deploy;
mod latency;
mod load;
mod outcome;
mod sources;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use metering::{Grouping, PriceSheet};

use crate::cli;
use crate::client::Client;
use crate::commands::{billing, serve, status};
use crate::config::{Config, Functions, Telemetry};
use crate::serve::{Footing, Running};
use crate::telemetry;

use deploy::Deployment;
use sources::{EARTHQUAKES, ORDERS, Sources};

/// How often the progress bar asks. It is drawn for people; nothing waits on it but them.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the demo.
#[expect(clippy::print_stdout, reason = "the command's own output")]
pub(crate) async fn run(arguments: cli::Demo) -> anyhow::Result<ExitCode> {
    let sources = Sources::find()?;
    let folder = tempfile::Builder::new()
        .prefix("tidemill-demo-")
        .tempdir()
        .context("make a data folder")?;
    let config = Config {
        data_dir: folder.path().to_owned(),
        telemetry: Telemetry {
            filter: "warn,s3s=off".to_owned(),
            ..Telemetry::default()
        },
        functions: Functions {
            isolation: arguments.isolation,
            ..Functions::default()
        },
        ..quiet_ports()
    };
    telemetry::start_log(&config.telemetry)?;
    let footing = Footing::find(&config)?;
    let running = Running::start(config, footing).await?;
    let done = tokio::select! {
        done = perform(&arguments, &sources, &running) => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    if arguments.keep && done.is_ok() {
        println!(
            "\nStill serving. Paste these into another shell; Ctrl-C ends it and removes the folder.\n"
        );
        print!("{}", running.exports());
        return serve::until_told_or_failed(running).await;
    }
    running.stop().await;
    done.map(|()| ExitCode::SUCCESS)
}

/// A demo must not fail because another server has the usual ports.
fn quiet_ports() -> Config {
    let mut config = Config::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http.listen = any;
    config.kafka.listen = any;
    config
}

#[expect(clippy::print_stdout, reason = "the command's own output")]
async fn perform(
    arguments: &cli::Demo,
    sources: &Sources,
    running: &Running,
) -> anyhow::Result<()> {
    let client = Client::new(
        &running.endpoint(),
        &running.config().region,
        running.credentials().clone(),
    );
    println!(
        "A server runs on {} and, for Kafka clients, on {}.",
        running.endpoint(),
        running.bootstrap()
    );
    let deployment = Deployment::make(
        &client,
        sources,
        &running.bootstrap(),
        arguments.order_total.as_deref(),
    )
    .await?;
    println!("\nDeployed: {}.", deployment.describe());

    let mut accepted = Vec::new();
    if deployment.has("csv-summary") {
        let files = load::put_files(&client, sources).await?;
        accepted.push(format!("{files} files in the bucket {}", deploy::INBOX));
    }
    for (function, topic) in [("enrich", EARTHQUAKES), ("order-total", ORDERS)] {
        if deployment.has(function) {
            let count = arguments.records as usize;
            let records = load::publish(&running.bootstrap(), sources, topic, count).await?;
            accepted.push(format!("{records} records in the topic {}", topic.name));
        }
    }
    println!("Accepted: {}.", accepted.join(", "));
    let settled = watch(&client).await?;

    println!("\nWhat ran\n\n{}", settled.to_table());
    println!("What came out\n");
    outcome::show(&client, &deployment).await?;
    println!("\nFrom acceptance to the end of the function\n");
    print!("{}", latency::table(&client, &settled).await?);
    billing::settle(&client).await?;
    let report = billing::report(&client, None, PriceSheet::standard()).await?;
    println!("\nThe bill, read back from the topic tidemill.billing\n");
    print!("{}", report.to_table(Grouping::Function));
    let verdict = billing::recount(&client).await?;
    println!(
        "\nRecounted from {} usage records: difference {}, duplicates {}.",
        verdict.usage_records,
        verdict.differences.len(),
        verdict.duplicates.len()
    );
    anyhow::ensure!(verdict.is_exact(), "the bill does not equal the usage");
    Ok(())
}

/// Shows a bar until every event is settled.
async fn watch(client: &Client) -> anyhow::Result<crate::status::Status> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events settled, {msg}")?;
    let bar = ProgressBar::new(0).with_style(style);
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let status = status::fetch(client).await?;
        let ended: u64 = status.triggers.iter().map(|trigger| trigger.ended()).sum();
        let lag: u64 = status.triggers.iter().map(|trigger| trigger.lag).sum();
        let in_flight: u64 = status
            .triggers
            .iter()
            .map(|trigger| trigger.in_flight)
            .sum();
        bar.set_length(ended + lag);
        bar.set_position(ended);
        bar.set_message(format!("{in_flight} in flight"));
        if status.is_settled() {
            bar.finish();
            return Ok(status);
        }
    }
}
