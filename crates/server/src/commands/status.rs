//! `tidemill status`.

use std::process::ExitCode;

use bytes::Bytes;
use http::Method;

use crate::admin;
use crate::cli;
use crate::client::Client;
use crate::status::Status;

/// Prints every trigger.
#[expect(clippy::print_stdout, reason = "the command's own output")]
pub(crate) async fn run(arguments: cli::Status) -> anyhow::Result<ExitCode> {
    let status = fetch(&Client::find(&arguments.server)?).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", status.to_table());
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks a server for its status.
pub(crate) async fn fetch(client: &Client) -> anyhow::Result<Status> {
    let body = client
        .demand(
            admin::SERVICE,
            Method::GET,
            "/_tidemill/status",
            Bytes::new(),
        )
        .await?;
    Ok(serde_json::from_slice(&body)?)
}
