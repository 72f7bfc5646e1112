//! `tidemill logs`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::admin::{self, TopicLine};
use crate::cli;
use crate::client::Client;
use crate::function_logs::{Lines, TOPIC};

/// Prints what a function printed, oldest first.
pub(crate) async fn run(arguments: cli::Logs) -> anyhow::Result<ExitCode> {
    let client = Client::find(&arguments.server)?;
    let name = function::FunctionName::new(&arguments.function)?;
    let path = format!(
        "/_tidemill/topics/{TOPIC}/records?follow={}&key={name}",
        arguments.follow
    );
    let response = client
        .open(admin::SERVICE, Method::GET, &path, Bytes::new())
        .await?;
    let status = response.status();
    let mut body = response.into_body();
    if status != StatusCode::OK {
        let body = body.collect().await?.to_bytes();
        bail!(
            "read the log of {name}: {status}: {}",
            String::from_utf8_lossy(&body).trim()
        );
    }
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("read the log")?.into_data() {
            held.extend_from_slice(&data);
        }
        if !print_lines(&mut held)? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints every whole line that is held. Returns whether somebody still reads.
fn print_lines(held: &mut BytesMut) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
        let line = held.split_to(end);
        held.advance(1);
        let line: TopicLine = serde_json::from_slice(&line).context("read a line of the log")?;
        let Some(value) = line.value else { continue };
        let lines: Lines = serde_json::from_slice(&value.into_bytes()?)?;
        if out.write_all(lines.text.as_bytes()).is_err() {
            return Ok(false);
        }
    }
    Ok(out.flush().is_ok())
}
