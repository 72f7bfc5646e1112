//! Real processes that die: killed at any moment, or by their own hand when a sync fails.
//!
//! A test runs itself again as a process of its own, which is the one to die, and tells it the
//! folder through the environment.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;

use super::*;
use disk::Random;

const FOLDER: &str = "TIDEMILL_TEST_LOG_FOLDER";
const ROUNDS: usize = 6;

fn child(test: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("embedded::tests::crash::{test}"))
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The folder that a parent has named: this process is the one that is to die.
fn as_child() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}

async fn append_until_killed(folder: &Path) {
    let log: SharedLog = open(folder);
    let place = events(&log, "t").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (log, place) = (SharedLog::clone(&log), place.clone());
        writers.spawn(async move {
            for number in 0.. {
                let value = format!("{writer}.{number}");
                let settled = append(&log, &place, value.clone()).await.unwrap();
                let line = format!("acked {} {value}\n", settled.appended[0].base());
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_an_acknowledged_append_survives_a_crash_and_keeps_its_place() {
    if let Some(folder) = as_child() {
        return append_until_killed(&folder).await;
    }
    let home = tempfile::tempdir().unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let mut acknowledged: Vec<(usize, String)> = Vec::new();
    for _ in 0..ROUNDS {
        let mut child = child(
            "l1_an_acknowledged_append_survives_a_crash_and_keeps_its_place",
            home.path(),
        );
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = 0;
        let until = 1 + random.below(400);
        while let Some(Ok(line)) = lines.next() {
            if let Some((at, value)) = line
                .split_once("acked ")
                .and_then(|(_, ack)| ack.split_once(' '))
            {
                acknowledged.push((at.parse().unwrap(), value.to_owned()));
                told += 1;
            }
            if told == until {
                child.kill().unwrap(); // What is still in the pipe was told before.
            }
        }
        child.wait().unwrap();
        let log: SharedLog = open(home.path());
        let values = read(&log, &events(&log, "t").await).await;
        for (at, value) in &acknowledged {
            assert_eq!(values.get(*at), Some(&Ok(value.clone())));
        }
    }
    assert!(acknowledged.len() >= ROUNDS);
}

async fn append_until_a_sync_fails() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    append(&log, &place, "one").await.unwrap();
    bench.disk.fail_next_sync(Errno::IO);
    let answer = append(&log, &place, "two").await;
    std::io::stdout()
        .write_all(format!("answered {answer:?}\n").as_bytes())
        .unwrap();
}

#[tokio::test]
async fn a_failed_sync_ends_the_process() {
    if as_child().is_some() {
        return append_until_a_sync_fails().await;
    }
    let home = tempfile::tempdir().unwrap();
    let output = child("a_failed_sync_ends_the_process", home.path())
        .wait_with_output()
        .unwrap();
    let aborted = rustix::process::Signal::ABORT.as_raw();
    assert_eq!(output.status.signal(), Some(aborted));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("answered"), "{said}");
}
