//! SIGKILL at every named point around a change to the disk.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};
use log_rigs::{Job, Oracle, Point, Random, Said, Then};

use crate::child::Workload;
use crate::folder::temporary;
use crate::rounds::{bound, rounds};

const SETTLEMENTS: u64 = 9;
/// So little that segments are removed while the workload runs.
const RETENTION: u64 = 128 << 10;

/// How often each point is reached by a workload that nobody disturbs.
fn calm(job: &Job, oracle: &mut Oracle) -> Result<BTreeMap<String, u64>> {
    let mut workload = Workload::start(job)?;
    let said = workload.until(oracle, |said| matches!(said, Said::Points(_)))?;
    let Some(Said::Points(points)) = said else {
        anyhow::bail!("the workload ended without its points");
    };
    ensure!(workload.finish(oracle)?.success());
    Ok(points)
}

fn job(dir: &std::path::Path, seed: u64) -> Job {
    Job {
        retention_bytes: Some(RETENTION),
        ..Job::new(dir, seed, Some(SETTLEMENTS))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l4_nothing_acknowledged_is_lost_to_sigkill_at_any_named_point() -> Result<()> {
    let rounds = rounds(150)?;
    let folder = temporary()?;
    let calm = calm(&job(folder.path(), 1), &mut Oracle::new(1))?;
    ensure!(calm.len() > 40, "points are reached: {calm:?}");
    let total: u64 = calm.values().sum();

    // The first and the last occurrence of each, the one in the middle, then any.
    let mut moments: Vec<(String, u64)> = Vec::new();
    let picks: [fn(u64) -> u64; 3] = [|_| 1, |count| count, |count| count.div_ceil(2)];
    for pick in picks {
        for (name, count) in &calm {
            let moment = (name.clone(), pick(*count));
            if !moments.contains(&moment) {
                moments.push(moment);
            }
        }
    }
    let mut random = Random::of(7, 0, 0);
    let points: Vec<(&String, &u64)> = calm.iter().collect();
    while (moments.len() as u64) < rounds {
        let (name, count) = points[random.below(points.len() as u64) as usize];
        moments.push((name.clone(), 1 + random.below(*count)));
    }
    let (mut killed, mut kept, mut lost) = (0, 0, 0);
    for (round, (name, occurrence)) in (0..rounds).zip(&moments) {
        let seed = 1 + round / (3 * calm.len() as u64);
        let what = format!("{name}, occurrence {occurrence}, seed {seed}");
        let folder = temporary()?;
        let mut oracle = Oracle::new(seed);
        // Killed at the point, then again while it recovers or right after, then left in peace.
        let again = points[(round as usize * 7) % points.len()].0.clone();
        for (name, occurrence) in [(name.clone(), *occurrence), (again, 1)] {
            let mut job = job(folder.path(), seed);
            job.churn_from = oracle.churn_from();
            job.resend = oracle.resend();
            job.point = Some(Point {
                name,
                occurrence,
                then: Then::Die,
            });
            let ended = Workload::start(&job)?.finish(&mut oracle)?;
            ensure!(
                ended.success() || ended.signal() == Some(9),
                "{what}: {ended}"
            );
            killed += u64::from(!ended.success());
            let found = oracle.check(folder.path(), Some(RETENTION)).await;
            let found = found.with_context(|| what.clone())?;
            kept += found.undecided_kept;
            lost += found.undecided_lost;
        }
        let mut job = job(folder.path(), seed);
        (job.churn_from, job.resend) = (oracle.churn_from(), oracle.resend());
        job.settlements = Some(2);
        let ended = Workload::start(&job)?.finish(&mut oracle)?;
        ensure!(ended.success(), "{what}: afterwards {ended}");
        oracle
            .check(folder.path(), Some(RETENTION))
            .await
            .with_context(|| what.clone())?;
    }
    eprintln!(
        "kill: {killed} kills at {} points reached {total} times; of the settlements in flight \
         {kept} were there whole and {lost} not at all; {}",
        calm.len(),
        bound(killed)
    );
    ensure!(killed >= rounds / 2, "the kills hit the workload");
    Ok(())
}
