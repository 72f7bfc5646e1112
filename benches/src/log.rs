//! Durable appends to the embedded log, beside what the disk itself takes, and how long it takes to
//! open.
//!
//! The floor is one write of 4 KiB and one `fdatasync` at a time over blocks that were written before:
//! nothing that acknowledges after durability can be faster with one append in flight. It is measured
//! again before and after each load, so that what else the machine does weighs on both alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// How much is stored in the log that is opened.
const STORED: u64 = 10 << 30;
/// Records in each of its batches.
const STORED_BATCH: usize = 100;
const OPENINGS: usize = 5;

/// Measures each load on a log of its own beside the floor, then how long a large log takes to open.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (times, conditions) in [
        (
            floor::durable_appends(folder.path(), WRITES)?,
            "4 KiB, into blocks set aside",
        ),
        (
            floor::durable_writes(folder.path(), WRITES)?,
            "4 KiB, over written blocks",
        ),
    ] {
        let total: Duration = times.iter().sum();
        let rate = times.len() as f64 / total.as_secs_f64();
        table.row(
            "write + fdatasync",
            conditions,
            figure(rate, rate, &times),
            String::new(),
        );
    }
    for load in LOADS {
        let log = tempfile::tempdir()?;
        let mut floor = floor::durable_writes(folder.path(), WRITES)?;
        let (times, elapsed) = appends(EmbeddedConfig::new(log.path()), load).await?;
        floor.extend(floor::durable_writes(folder.path(), WRITES)?);
        floor.sort_unstable();
        let total: Duration = floor.iter().sum();
        let floor_rate = floor.len() as f64 / total.as_secs_f64();
        let floor_p50 = percentile(&floor, 50).as_secs_f64();
        let appends = times.len() as f64 / elapsed.as_secs_f64();
        let records = appends * load.records as f64;
        let slower = percentile(&times, 50).as_secs_f64() / floor_p50;
        table.row(
            "durable appends of 256 B",
            load.conditions,
            figure(appends, records, &times),
            format!(
                "{:.1} × the floor's rate, {slower:.2} × its p50",
                records / floor_rate
            ),
        );
    }
    opening(table).await
}

/// Opens a log of 10 GiB, and reads from the middle of it.
async fn opening(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = EmbeddedConfig::new(folder.path());
    let load = Load {
        conditions: "",
        clients: PARTITIONS as usize,
        records: STORED_BATCH,
    };
    let until = Until::Bytes(STORED);
    append_until(config.clone(), &load, until).await?;
    let mut times = Vec::new();
    for _ in 0..OPENINGS {
        let begun = Instant::now();
        let log = EmbeddedLog::open(config.clone(), Arc::new(SystemClock::new()))?;
        times.push(begun.elapsed());
        drop(log);
    }
    times.sort_unstable();
    let gib = STORED >> 30;
    table.row(
        "opening a log",
        &format!("{gib} GiB in batches of {STORED_BATCH} × {RECORD_BYTES} B"),
        format!(
            "p50 {}, max {}",
            time(percentile(&times, 50)),
            time(percentile(&times, 100))
        ),
        String::new(),
    );
    Ok(())
}

fn figure(acts: f64, records: f64, times: &[Duration]) -> String {
    format!(
        "{records:.0} records/s in {acts:.0} acts/s, p50 {}, p99 {}",
        time(percentile(times, 50)),
        time(percentile(times, 99))
    )
}

/// When clients stop.
#[derive(Clone, Copy)]
enum Until {
    Elapsed(Duration),
    Bytes(u64),
}

/// Each client waits for one append before it sends the next. Returns their latencies, sorted.
async fn appends(config: EmbeddedConfig, load: &Load) -> Result<(Vec<Duration>, Duration)> {
    append_until(config, load, Until::Elapsed(SPAN)).await
}

async fn append_until(
    config: EmbeddedConfig,
    load: &Load,
    until: Until,
) -> Result<(Vec<Duration>, Duration)> {
    let log: SharedLog = EmbeddedLog::open(config, Arc::new(SystemClock::new()))?;
    let config = TopicConfig::new(PARTITIONS, Lifetime::Events);
    let topic = log.create_topic(&TopicName::new("load")?, config).await?;
    let places: Vec<TopicPartition> = topic.partitions().collect();
    let record = Record::new(vec![b'x'; RECORD_BYTES], Timestamp::from_millis(0));
    let batch = RecordBatch::of(&vec![record; load.records]).context("no records")?;
    let sent = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..load.clients {
        let (log, batch, sent) = (Arc::clone(&log), batch.clone(), Arc::clone(&sent));
        let place = places[client % places.len()].clone();
        clients.spawn(async move {
            let bytes = batch.as_bytes().len() as u64;
            let mut times = Vec::new();
            loop {
                let sent = sent.fetch_add(bytes, Ordering::Relaxed);
                let goes_on = match until {
                    Until::Elapsed(span) => start.elapsed() < span,
                    Until::Bytes(bytes) => sent < bytes,
                };
                if !goes_on {
                    return anyhow::Ok(times);
                }
                let begun = Instant::now();
                let settlement = Settlement::of(place.clone(), batch.clone());
                log.commit(settlement).await?;
                times.push(begun.elapsed());
            }
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
