//! Durable appends to the embedded log, beside what the disk itself takes.
//!
//! The floor is one write of 4 KiB and one `fdatasync` at a time, in order, into blocks that were set
//! aside: a log with nothing to it could do no better with one append in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clock::{SystemClock, Timestamp};
use event::Record;
use event_log::{
    EmbeddedConfig, EmbeddedLog, Lifetime, RecordBatch, Settlement, SharedLog, TopicConfig,
    TopicName, TopicPartition,
};
use tokio::task::JoinSet;

use crate::floor;
use crate::table::{Table, percentile, time};

const SPAN: Duration = Duration::from_secs(3);
const RECORD_BYTES: usize = 256;
const PARTITIONS: u32 = 64;
/// Writes of the floor, per kind.
const WRITES: usize = 2_000;

/// Who appends what.
struct Load {
    conditions: &'static str,
    clients: usize,
    records: usize,
}

const LOADS: &[Load] = &[
    Load {
        conditions: "1 client, single records",
        clients: 1,
        records: 1,
    },
    Load {
        conditions: "256 clients, single records",
        clients: 256,
        records: 1,
    },
    Load {
        conditions: "1 client, batches of 1,000",
        clients: 1,
        records: 1_000,
    },
    Load {
        conditions: "8 clients, batches of 1,000",
        clients: 8,
        records: 1_000,
    },
];

/// Measures the floor, then each load on a log of its own, then how long the largest takes to open.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fresh = floor::durable_appends(folder.path(), WRITES)?;
    let again = floor::durable_writes(folder.path(), WRITES)?;
    for (times, conditions) in [
        (&fresh, "4 KiB, into blocks set aside"),
        (&again, "4 KiB, over written blocks"),
    ] {
        let total: Duration = times.iter().sum();
        let rate = times.len() as f64 / total.as_secs_f64();
        table.row(
            "write + fdatasync",
            conditions,
            figure(rate, rate, times),
            String::new(),
        );
    }
    let slowest: Duration = fresh.iter().sum();
    let floor_rate = fresh.len() as f64 / slowest.as_secs_f64();
    let floor_p50 = percentile(&fresh, 50);
    for load in LOADS {
        let folder = tempfile::tempdir()?;
        let config = EmbeddedConfig::new(folder.path());
        let (times, elapsed) = appends(config.clone(), load).await?;
        let appends = times.len() as f64 / elapsed.as_secs_f64();
        let records = appends * load.records as f64;
        let slower = percentile(&times, 50).as_secs_f64() / floor_p50.as_secs_f64();
        table.row(
            "durable appends of 256 B",
            load.conditions,
            figure(appends, records, &times),
            format!(
                "{:.1} × its rate, {slower:.2} × its p50",
                records / floor_rate
            ),
        );
        let begun = Instant::now();
        let log = EmbeddedLog::open(config, Arc::new(SystemClock::new()))?;
        let took = begun.elapsed();
        drop(log);
        let stored = (times.len() * load.records * RECORD_BYTES) as f64 / 1e6;
        table.row(
            "opening that log again",
            &format!("{} batches, {stored:.0} MB of values", times.len()),
            time(took),
            format!("{:.0} MB/s", stored / took.as_secs_f64()),
        );
    }
    Ok(())
}

fn figure(acts: f64, records: f64, times: &[Duration]) -> String {
    format!(
        "{records:.0} records/s in {acts:.0} acts/s, p50 {}, p99 {}",
        time(percentile(times, 50)),
        time(percentile(times, 99))
    )
}

/// Each client waits for one append before it sends the next. Returns their latencies, sorted.
async fn appends(config: EmbeddedConfig, load: &Load) -> Result<(Vec<Duration>, Duration)> {
    let log: SharedLog = EmbeddedLog::open(config, Arc::new(SystemClock::new()))?;
    let config = TopicConfig::new(PARTITIONS, Lifetime::Events);
    let topic = log.create_topic(&TopicName::new("load")?, config).await?;
    let places: Vec<TopicPartition> = topic.partitions().collect();
    let record = Record::new(vec![b'x'; RECORD_BYTES], Timestamp::from_millis(0));
    let batch = RecordBatch::of(&vec![record; load.records]).context("no records")?;
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..load.clients {
        let (log, batch) = (Arc::clone(&log), batch.clone());
        let place = places[client % places.len()].clone();
        clients.spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < SPAN {
                let begun = Instant::now();
                let settlement = Settlement::of(place.clone(), batch.clone());
                log.commit(settlement).await?;
                times.push(begun.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        times.extend(client.context("a client ended early")??);
    }
    let elapsed = start.elapsed();
    times.sort_unstable();
    Ok((times, elapsed))
}
