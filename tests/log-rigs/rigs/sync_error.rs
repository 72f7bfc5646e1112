//! A sync that fails: the process ends at once, and nobody is told of what it did not make durable.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};
use log_rigs::{Job, Oracle, Random, Said, Start, skip};
use rustix::process::Signal;

use crate::child::Workload;
use crate::loop_disk::{Cut, LoopDisk};
use crate::rounds::{bound, rounds, spread};
use crate::strace::{self, Attached};

const DISK: u64 = 96 << 20;
/// Syncs of the workload that a round may choose from; it makes more.
const SYNCS: u64 = 60;

/// The kernel drops what a failed sync could not write, so the disk loses its power right after: an
/// acknowledgement that did not wait for a sync is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_process_before_any_acknowledgement() -> Result<()> {
    let provided = strace::find().and_then(|strace| Ok((strace, LoopDisk::new(DISK)?)));
    let (strace, mut disk) = match provided {
        Ok(provided) => provided,
        Err(why) => {
            skip("rigs: a failed sync", &format!("{why:#}"));
            return Ok(());
        }
    };
    let calls = ["fdatasync", "fsync"];
    let moments: Vec<(&str, u64)> = calls
        .into_iter()
        .flat_map(|call| (1..=SYNCS).map(move |occurrence| (call, occurrence)))
        .collect();
    let chosen = spread(&moments, rounds(24)?);
    let mut random = Random::of(17, 0, 0);
    let mut promised = 0;
    for (round, (call, occurrence)) in chosen.iter().enumerate() {
        let what = format!("{call} number {occurrence} fails");
        let dir = disk.dir().join(round.to_string());
        let mut oracle = Oracle::new(round as u64);
        let job = Job {
            start: Start::WhenTold,
            ..Job::new(&dir, round as u64, None)
        };
        let mut workload = Workload::start(&job)?;
        let ready = workload.until(&mut oracle, |said| *said == Said::Ready)?;
        ensure!(ready.is_some(), "the workload ended before it was ready");
        let inject = format!("inject={call}:error=EIO:when={occurrence}");
        let attached = Attached::to(&strace, workload.id(), &["-e", &inject])?;
        workload.begin()?;
        let ended = workload.finish(&mut oracle)?;
        attached.wait()?;
        ensure!(
            ended.signal() == Some(Signal::ABORT.as_raw()),
            "{what}: {ended}"
        );
        disk.cut(Cut::Plain, &[], &mut random)?;
        disk.restore()?;
        oracle.check(&dir, None).await.context(what)?;
        promised += oracle.promised();
        std::fs::remove_dir_all(&dir)?;
    }
    eprintln!(
        "sync: {} failed syncs ended the process; {promised} settlements acknowledged before, none \
         lost with the power right after; {}",
        chosen.len(),
        bound(chosen.len() as u64)
    );
    Ok(())
}
