//! From `exec` to ready: the log recovered, both ports open.

use std::time::Instant;

use anyhow::Result;
use tests::{Server, publish};

use crate::table::{Table, percentile, time};

const ROUNDS: usize = 20;
const RECORDS: usize = 100_000;

/// Starts a server on an empty folder, and on one with a hundred thousand records.
pub(crate) fn run(table: &mut Table) -> Result<()> {
    let mut server = Server::start()?;
    let empty = restarts(&mut server)?;
    table.row(
        "server start to ready",
        "empty folder",
        empty,
        String::new(),
    );
    let records = (0..RECORDS).map(|n| (n.to_string(), "x".repeat(256)));
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(publish(&server.bootstrap(), "t", records))
    })?;
    let full = restarts(&mut server)?;
    table.row(
        "server start to ready",
        "100,000 records of 256 B, after kill -9",
        full,
        String::new(),
    );
    Ok(())
}

fn restarts(server: &mut Server) -> Result<String> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        server.kill()?;
        let begun = Instant::now();
        server.restart()?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(format!(
        "p50 {}, max {}",
        time(percentile(&times, 50)),
        time(percentile(&times, 100))
    ))
}
