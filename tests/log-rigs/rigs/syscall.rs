//! SIGKILL at every system call of a fixed workload, and of the recovery from a crash.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use log_rigs::{BILLER, Job, KEEPER, Oracle, PRODUCER, Point, Said, Start, Then, skip};

use crate::child::Workload;
use crate::folder::{copy, temporary};
use crate::rounds::{bound, rounds, spread};
use crate::strace::{self, Attached, CALLS};

/// A call by its name and its n-th time on one thread.
type Moment = (String, u64);

fn moments(busiest: BTreeMap<String, u64>) -> Vec<Moment> {
    let each = |(name, count): (String, u64)| (1..=count).map(move |n| (name.clone(), n));
    busiest.into_iter().flat_map(each).collect()
}

fn kill_at((name, occurrence): &Moment) -> String {
    format!("inject={name}:signal=SIGKILL:when={occurrence}")
}

/// The fixed workload: 200 operations for each thread that writes, at the defaults.
fn job(dir: &Path, writers: &[u32]) -> Job {
    Job {
        writers: writers.to_vec(),
        start: Start::WhenTold,
        ..Job::new(dir, 3, Some(8))
    }
}

/// Runs the workload with strace attached between the opening of the log and the first write.
async fn run(strace: &Path, job: &Job, arguments: &[&str], oracle: &mut Oracle) -> Result<bool> {
    let mut workload = Workload::start(job)?;
    let ready = workload.until(oracle, |said| *said == Said::Ready)?;
    ensure!(ready.is_some(), "the workload ended before it was ready");
    let attached = Attached::to(strace, workload.id(), arguments)?;
    workload.begin()?;
    let ended = workload.finish(oracle)?;
    attached.wait()?;
    Ok(!ended.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l4_nothing_acknowledged_is_lost_to_sigkill_at_any_system_call() -> Result<()> {
    let strace = match strace::find() {
        Ok(strace) => strace,
        Err(why) => {
            skip("rigs: sigkill at any system call", &format!("{why:#}"));
            return Ok(());
        }
    };
    let rounds = rounds(110)?;
    let calls = format!("trace={}", CALLS.join(","));
    let mut all = Vec::new();
    // The long-lived journal's thread alone too: beside the other it never comes first.
    for writers in [&[0, 1, 2, 3, BILLER, PRODUCER, KEEPER][..], &[BILLER][..]] {
        let folder = temporary()?;
        let trace = folder.path().join("trace");
        let shown = trace.to_str().context("a path in UTF-8")?;
        let job = job(&folder.path().join("log"), writers);
        let mut oracle = Oracle::new(3);
        let killed = run(&strace, &job, &["-o", shown, "-e", &calls], &mut oracle).await?;
        ensure!(!killed, "the workload ends well by itself");
        let moments = moments(strace::busiest(&fs::read_to_string(&trace)?)?);
        all.extend(moments.into_iter().map(|moment| (writers, moment)));
    }
    let (mut killed, mut kept, mut lost) = (0, 0, 0);
    let chosen = spread(&all, rounds);
    for (writers, moment) in &chosen {
        let (name, mut occurrence) = moment.clone();
        loop {
            let moment = (name.clone(), occurrence);
            let what = format!("{moment:?} of writers {writers:?}");
            let folder = temporary()?;
            let mut oracle = Oracle::new(3);
            let job = job(folder.path(), writers);
            let inject = kill_at(&moment);
            let dead = run(&strace, &job, &["-e", &inject], &mut oracle).await;
            let dead = dead.with_context(|| what.clone())?;
            let found = oracle.check(folder.path(), None).await;
            let found = found.with_context(|| what.clone())?;
            kept += found.undecided_kept;
            lost += found.undecided_lost;
            killed += u64::from(dead);
            if dead || occurrence == 1 {
                break;
            }
            // Writers were put into fewer groups than when the calls were counted.
            occurrence /= 2;
        }
    }
    eprintln!(
        "syscall: {killed} kills at {} of {} system calls; of the settlements in flight {kept} were \
         there whole and {lost} not at all; {}",
        chosen.len(),
        all.len(),
        bound(killed)
    );
    ensure!(
        killed * 10 >= chosen.len() as u64 * 9,
        "the kills hit the workload"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_may_be_killed_at_any_system_call_and_begins_again() -> Result<()> {
    let strace = match strace::find() {
        Ok(strace) => strace,
        Err(why) => {
            skip(
                "rigs: recovery killed at any system call",
                &format!("{why:#}"),
            );
            return Ok(());
        }
    };
    let strace = strace.to_str().context("a path in UTF-8")?;
    let rounds = rounds(60)?;
    // What is to be recovered: a group half written, and a new segment half made.
    let folder = temporary()?;
    let mut crashed = Vec::new();
    for (index, point) in ["events/seg.write.half", "long-lived/seg.rename.before"]
        .into_iter()
        .enumerate()
    {
        let dir = folder.path().join(index.to_string());
        let mut oracle = Oracle::new(4);
        let mut job = Job::new(&dir, 4, Some(9));
        job.point = Some(Point {
            name: point.to_owned(),
            occurrence: 1 + 20 * (1 - index as u64),
            then: Then::Die,
        });
        let ended = Workload::start(&job)?.finish(&mut oracle)?;
        ensure!(!ended.success(), "the workload dies at {point}");
        crashed.push((dir, oracle));
    }
    let mut all = Vec::new();
    let calls = format!("trace={}", CALLS.join(","));
    for (dir, oracle) in &crashed {
        let target = folder.path().join("counted");
        copy(dir, &target)?;
        let trace = folder.path().join("trace");
        let shown = trace.to_str().context("a path in UTF-8")?;
        let job = Job::new(&target, 4, Some(0));
        let command = [strace, "-f", "-qq", "-o", shown, "-e", &calls];
        let ended = Workload::start_under(&command, &job)?.finish(&mut oracle.clone())?;
        ensure!(ended.success(), "recovery ends well by itself");
        fs::remove_dir_all(&target)?;
        let moments = moments(strace::busiest(&fs::read_to_string(&trace)?)?);
        all.extend(moments.into_iter().map(|moment| (dir, oracle, moment)));
    }
    let (chosen, mut killed) = (spread(&all, rounds), 0);
    for (dir, oracle, moment) in &chosen {
        let target = folder.path().join("killed");
        copy(dir, &target)?;
        let mut oracle = Oracle::clone(oracle);
        let inject = kill_at(moment);
        let job = Job::new(&target, 4, Some(0));
        let command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        let ended = Workload::start_under(&command, &job)?.finish(&mut oracle)?;
        killed += u64::from(!ended.success());
        let found = oracle.check(&target, None).await;
        found.with_context(|| format!("recovery of {} killed at {moment:?}", dir.display()))?;
        fs::remove_dir_all(&target)?;
    }
    eprintln!(
        "syscall: {killed} kills of recovery at {} of {} system calls; {}",
        chosen.len(),
        all.len(),
        bound(killed)
    );
    ensure!(
        killed * 10 >= chosen.len() as u64 * 9,
        "the kills hit recovery"
    );
    Ok(())
}
