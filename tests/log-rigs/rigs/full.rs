//! A file system without room, for real.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use event_log::{Appended, Error, Settlement, SharedLog};
use log_rigs::{PRODUCER, Plan, open, skip, topics};

use crate::loop_disk::LoopDisk;

/// Small enough to fill in a moment.
const DISK: u64 = 16 << 20;

/// Takes all the room there is.
fn fill(path: &Path) -> Result<u64> {
    let mut file = File::create(path)?;
    let mut taken = 0;
    for piece in [1 << 20, 4096, 512] {
        while file.write_all(&vec![7; piece]).is_ok() {
            taken += piece as u64;
        }
    }
    ensure!(taken > 0, "there was no room to take");
    Ok(taken)
}

/// Appends until the disk is full; what was acknowledged goes to `acked`.
async fn append_until_full(log: &SharedLog, acked: &mut Vec<(Appended, String)>) -> Result<()> {
    for _ in 0..20_000 {
        match append(log, acked).await {
            Ok(()) => {}
            Err(Error::Full { .. }) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
    }
    anyhow::bail!("the disk is never full")
}

async fn append(log: &SharedLog, acked: &mut Vec<(Appended, String)>) -> Result<(), Error> {
    let seq = acked.len() as u64 + 1;
    let mut planned = Plan(21).appends(PRODUCER, seq).remove(0);
    planned.values.truncate(1);
    let settlement = Settlement::of(planned.to.clone(), Plan::batch(&planned));
    let settled = log.commit(settlement).await?;
    acked.push((settled.appended[0], planned.values.remove(0)));
    Ok(())
}

async fn ensure_kept(log: &SharedLog, acked: &[(Appended, String)]) -> Result<()> {
    let place = Plan(21).appends(PRODUCER, 1).remove(0).to;
    let end = log.bounds(&place)?.end;
    ensure!(
        end.get() == acked.len() as u64,
        "{end} records are there, {} were acknowledged",
        acked.len()
    );
    for (appended, value) in acked {
        let chunk = log.read(&place, appended.base(), 1).await?;
        let stored = chunk.batches[0].records()?.remove(0);
        ensure!(stored.offset == appended.base());
        ensure!(stored.record.value.as_deref() == Some(value.as_bytes()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers_without_a_restart() -> Result<()> {
    let disk = match LoopDisk::new(DISK) {
        Ok(disk) => disk,
        Err(why) => {
            skip("rigs: a full disk", &format!("{why:#}"));
            return Ok(());
        }
    };
    let dir = disk.dir().join("log");
    let filler = disk.dir().join("filler");
    let mut acked = Vec::new();
    let embedded = open(&dir, None)?;
    let log: SharedLog = embedded.clone();
    for (name, config) in topics() {
        log.ensure_topic(&name, config).await?;
    }
    let (mut refused, mut slowest) = (0, Duration::ZERO);
    for _ in 0..6 {
        for _ in 0..40 {
            append(&log, &mut acked).await?;
        }
        fill(&filler)?;
        append_until_full(&log, &mut acked).await?;
        for _ in 0..20 {
            let answer = append(&log, &mut acked).await;
            ensure!(!matches!(answer, Err(ref error) if !matches!(error, Error::Full { .. })));
            refused += u64::from(answer.is_err());
        }
        ensure_kept(&log, &acked).await.context("while full")?;
        fs::remove_file(&filler)?;
        let begun = Instant::now();
        append(&log, &mut acked).await.context("with room again")?;
        slowest = slowest.max(begun.elapsed());
        ensure_kept(&log, &acked).await.context("with room again")?;
    }
    // A server that starts on a full disk serves reads, refuses writes, and recovers too.
    fill(&filler)?;
    append_until_full(&log, &mut acked).await?;
    embedded.close().await;
    drop((log, embedded));
    let embedded = open(&dir, None).context("start on a full disk")?;
    let log: SharedLog = embedded.clone();
    ensure_kept(&log, &acked)
        .await
        .context("after a start on a full disk")?;
    append_until_full(&log, &mut acked).await?;
    fs::remove_file(&filler)?;
    append(&log, &mut acked)
        .await
        .context("room after a start on a full disk")?;
    embedded.close().await;
    drop((log, embedded));
    let log: SharedLog = open(&dir, None)?;
    ensure_kept(&log, &acked).await.context("after all")?;
    ensure!(
        slowest < Duration::from_secs(5),
        "room is noticed after {slowest:?}"
    );
    eprintln!(
        "full: {} records acknowledged, {refused} refused on a full disk, none lost and none there \
         that was refused; writing again {slowest:?} after there was room",
        acked.len()
    );
    Ok(())
}
