//! `tidemill connector`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;

use crate::admin;
use crate::cli::{self, ConnectorCommand};
use crate::client::Client;
use crate::connectors::{Definition, Removed, Report, to_list, to_text};

/// Does one thing to connectors.
#[expect(clippy::print_stdout, reason = "the command's own output")]
pub(crate) async fn run(arguments: cli::Connector) -> anyhow::Result<ExitCode> {
    let client = Client::find(&arguments.server)?;
    match arguments.command {
        ConnectorCommand::Add(add) => print!("{}", added(&client, *add).await?),
        ConnectorCommand::List(list) => {
            let reports: Vec<Report> = ask(&client, Method::GET, "", Bytes::new()).await?;
            print!("{}", shown(&reports, list.json, to_list)?);
        }
        ConnectorCommand::Status(status) => {
            let reports = match &status.name {
                Some(name) => {
                    vec![ask(&client, Method::GET, &format!("/{name}"), Bytes::new()).await?]
                }
                None => ask(&client, Method::GET, "", Bytes::new()).await?,
            };
            print!("{}", shown(&reports, status.json, to_text)?);
        }
        ConnectorCommand::Pause(one) => {
            let path = format!("/{}/pause", one.name);
            let report: Report = ask(&client, Method::POST, &path, Bytes::new()).await?;
            println!("{} stands still, also after a restart.", report.name);
        }
        ConnectorCommand::Resume(one) => {
            let path = format!("/{}/resume", one.name);
            let report: Report = ask(&client, Method::POST, &path, Bytes::new()).await?;
            let name = report.name;
            println!("{name} goes on. `tidemill connector status {name}` tells how it fares.");
        }
        ConnectorCommand::Remove(remove) => {
            let leave = match remove.keep_slot {
                true => "everything",
                false => "nothing",
            };
            let path = format!("/{}?leave={leave}", remove.name);
            let removed: Removed = ask(&client, Method::DELETE, &path, Bytes::new()).await?;
            println!("{} is removed: {}.", removed.name, removed.at_the_source);
            if !removed.topics.is_empty() {
                println!(
                    "What it has read stays here, and so do event source mappings of it: {}.",
                    removed.topics.join(", ")
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn added(client: &Client, add: cli::AddConnector) -> anyhow::Result<String> {
    let name = add.name.context("say what to call it: --name NAME")?;
    let mut settings = add.settings;
    settings.as_kind_mut().make_absolute()?;
    let definition = Definition { name, settings };
    definition.check()?;
    let body = serde_json::to_vec(&definition)?;
    let report: Report = ask(client, Method::POST, "", body.into()).await?;
    let mut text = format!(
        "{} is added. `tidemill connector status {}` tells how it fares.\n",
        report.name, report.name
    );
    for stream in &report.streams {
        text.push_str(&format!("  stream {stream}\n"));
    }
    Ok(text)
}

fn shown(
    reports: &[Report],
    json: bool,
    text: impl Fn(&[Report]) -> String,
) -> anyhow::Result<String> {
    match json {
        true => Ok(serde_json::to_string_pretty(reports)? + "\n"),
        false => Ok(text(reports)),
    }
}

async fn ask<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<T> {
    let path = format!("/_tidemill/connectors{path}");
    let (status, body) = client.send(admin::SERVICE, method, &path, body).await?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    serde_json::from_slice(&body).context("read the server's answer")
}
