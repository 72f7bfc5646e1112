//! Benchmarks of record: `cargo xtask bench [NAME…]` prints one table.
//!
//! Each benchmark measures the thing beside a floor or a peer in the same run and prints the ratio,
//! because a figure without its machine says little. Numbers are for reading; no test depends on
//! them.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "benchmarks read the clock and print their table"
)]

mod clients;
mod dispatch;
mod floor;
mod instances;
mod listing;
mod log;
mod objects;
mod peers;
mod put_latency;
mod sandboxes;
mod settle;
mod startup;
mod table;
mod tables;
mod wasm;

use anyhow::{Result, bail};

use crate::table::Table;

const BENCHMARKS: &[&str] = &[
    "log",
    "peers",
    "clients",
    "settle",
    "start",
    "put",
    "objects",
    "sandboxes",
    "instances",
    "neighbours",
    "dispatch",
    "tables",
    "listing",
    "wasm",
];

#[tokio::main]
async fn main() -> Result<()> {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !BENCHMARKS.contains(&name.as_str()))
    {
        bail!(
            "no benchmark is called {unknown}: there are {}",
            BENCHMARKS.join(", ")
        );
    }
    if wanted.is_empty() {
        wanted = BENCHMARKS.iter().map(ToString::to_string).collect();
    }
    let mut table = Table::default();
    for name in wanted {
        match name.as_str() {
            "log" => log::run(&mut table).await?,
            "peers" => peers::run(&mut table).await?,
            "clients" => clients::run(&mut table).await?,
            "settle" => settle::run(&mut table).await?,
            "start" => startup::run(&mut table)?,
            "objects" => objects::run(&mut table).await?,
            "put" => put_latency::run(&mut table).await?,
            "sandboxes" => sandboxes::run(&mut table).await?,
            "instances" => instances::run(&mut table).await?,
            "neighbours" => instances::neighbours::run(&mut table).await?,
            "dispatch" => dispatch::run(&mut table).await?,
            "tables" => tables::run(&mut table).await?,
            "listing" => listing::run(&mut table).await?,
            "wasm" => wasm::run(&mut table).await?,
            other => bail!("no benchmark is called {other}"),
        }
    }
    print!("{table}");
    Ok(())
}
