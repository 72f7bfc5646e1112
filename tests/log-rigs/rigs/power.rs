//! Power cuts on a real file system: what was not synced is lost, in whole or in parts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use log_rigs::{Findings, Job, Oracle, Point, Random, Said, Then, skip};

use crate::child::Workload;
use crate::loop_disk::{Cut, LoopDisk};
use crate::rounds::{bound, rounds};

const DISK: u64 = 96 << 20;
/// Power cuts that one log has to live through.
const LIVES: u64 = 12;

fn disk() -> Option<LoopDisk> {
    match LoopDisk::new(DISK) {
        Ok(disk) => Some(disk),
        Err(why) => {
            skip("rigs: power cuts", &format!("{why:#}"));
            None
        }
    }
}

fn kind(random: &mut Random) -> Cut {
    match random.below(3) {
        0 => Cut::JournalFlushed,
        _ => Cut::Plain,
    }
}

/// Every file of the log.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(self::files(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// What the cuts did.
#[derive(Default)]
struct Toll {
    cuts: u64,
    kept: u64,
    lost: u64,
}

impl Toll {
    fn add(&mut self, found: Findings) {
        self.cuts += 1;
        self.kept += found.undecided_kept;
        self.lost += found.undecided_lost;
    }

    fn report(&self, what: &str, promised: u64) {
        eprintln!(
            "power: {} cuts {what}; {promised} settlements acknowledged; of those in flight {} were \
             there whole and {} not at all; {}",
            self.cuts,
            self.kept,
            self.lost,
            bound(self.cuts)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l4_nothing_acknowledged_is_lost_to_power_cuts_at_any_moment() -> Result<()> {
    let Some(mut disk) = disk() else {
        return Ok(());
    };
    let rounds = rounds(70)?;
    let (mut random, mut toll, mut promised) = (Random::of(11, 0, 0), Toll::default(), 0);
    let mut oracle = Oracle::new(0);
    for round in 0..rounds {
        let life = round / LIVES;
        let dir = disk.dir().join(life.to_string());
        if round % LIVES == 0 {
            promised += oracle.promised();
            oracle = Oracle::new(life);
            if life > 0 {
                fs::remove_dir_all(disk.dir().join((life - 1).to_string()))?;
            }
        }
        let mut job = Job::new(&dir, life, None);
        (job.churn_from, job.resend) = (oracle.churn_from(), oracle.resend());
        let mut workload = Workload::start(&job)?;
        for _ in 0..random.below(250) {
            workload.next(&mut oracle)?;
        }
        workload.hear_so_far(&mut oracle)?;
        disk.cut(kind(&mut random), &[], &mut random)?;
        workload.end_late(&mut oracle)?;
        disk.restore()?;
        let found = oracle.check(&dir, None).await;
        toll.add(found.with_context(|| format!("power cut {round}"))?);
    }
    toll.report("at any moment", promised + oracle.promised());
    Ok(())
}

/// The process stands still at a point; any of the pages that it has written, and no others, reach
/// the disk; then the power is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l4_nothing_acknowledged_is_lost_to_a_power_cut_with_torn_writes() -> Result<()> {
    let Some(mut disk) = disk() else {
        return Ok(());
    };
    let rounds = rounds(70)?;
    let (mut random, mut toll, mut promised) = (Random::of(12, 0, 0), Toll::default(), 0);
    // In the order of their use: those where data is on its way to the disk come up most.
    let points = [
        "events/seg.write.after",
        "events/seg.sync.after",
        "events/seg.write.half",
        "long-lived/seg.write.after",
        "events/seg.write.after",
        "events/seg.write.after",
        "events/seg.write.after",
        "events/synced.write.after",
        "events/seg.rename.after",
        "events/seg.write.after",
        "events/seg.truncate.after",
        "long-lived/seg.rename.before",
        "events/folder.sync.after",
    ];
    for round in 0..rounds {
        let dir = disk.dir().join(round.to_string());
        let mut oracle = Oracle::new(round);
        let mut reached = true;
        // The same log lives through a second cut, which comes while it recovers or soon after.
        for life in 0..2 {
            let name = points[(round as usize + life * 5) % points.len()];
            let rare = !name.contains("seg.write")
                && !name.contains("synced")
                && !name.contains("seg.sync");
            let occurrence = 1 + random.below(if rare { 3 } else { 25 });
            let mut job = Job::new(&dir, round, None);
            (job.churn_from, job.resend) = (oracle.churn_from(), oracle.resend());
            job.point = Some(Point {
                name: name.to_owned(),
                occurrence,
                then: Then::Hold,
            });
            let mut workload = Workload::start(&job)?;
            let held = workload.until(&mut oracle, |said| *said == Said::Held)?;
            reached &= held.is_some();
            let files = files(&dir)?;
            workload.hear_so_far(&mut oracle)?;
            disk.cut(kind(&mut random), &files, &mut random)?;
            workload.end_late(&mut oracle)?;
            disk.restore()?;
            let what = format!("power cut {round}.{life} at {name}, occurrence {occurrence}");
            let found = oracle.check(&dir, None).await;
            toll.add(found.with_context(|| what)?);
        }
        ensure!(reached, "the workload reaches its points");
        promised += oracle.promised();
        fs::remove_dir_all(&dir)?;
    }
    ensure!(
        toll.lost > 0,
        "unsynced data is lost, or this was no power cut"
    );
    toll.report("with torn writes", promised);
    Ok(())
}
