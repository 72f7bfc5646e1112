//! A prisoner that tries the walls: whatever gets through is named.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use super::early::{EARLY, early_python};
use super::*;
use crate::seccomp;

const INSPECTOR: &str = include_str!("inspector.py");

/// Runs one part of the inspector, in a process that was started for it and in one that was started
/// early; lines that begin with `!` are holes.
async fn inspect(bench: &Bench, part: &str, arguments: &[String]) -> String {
    let mut all = vec!["-c", INSPECTOR, part];
    all.extend(arguments.iter().map(String::as_str));
    let mut fresh = program("/usr/bin/python3", &all);
    // A thousand processes of Python's take some.
    fresh.program.memory = 2 << 30;
    let early = early_python(bench, &fresh).await;
    let (fresh, early) = tokio::join!(inspected(bench, fresh), inspected(bench, early));
    assert!(early.starts_with(EARLY), "{early}");
    assert!(!fresh.starts_with(EARLY), "{fresh}");
    // The same was said to both.
    let numbers = |text: &str| text.lines().count();
    assert_eq!(numbers(&fresh) + 1, numbers(&early), "{fresh}\n{early}");
    early
}

async fn inspected(bench: &Bench, job: Job) -> String {
    let (text, exit) = bench.start(job).await.finish().await;
    assert_eq!(exit, Exit::Status(0), "{text}");
    let holes: Vec<&str> = text.lines().filter(|line| line.starts_with('!')).collect();
    assert!(holes.is_empty(), "{holes:#?}");
    assert!(text.ends_with("inspected\n"), "{text}");
    text
}

fn prison() -> Option<Bench> {
    has("python3").then(Bench::new).flatten()
}

#[tokio::test]
async fn no_file_of_the_machines_is_found_and_none_can_be_written() {
    let Some(bench) = prison() else { return };
    let secret = bench.folder.path().join("secret");
    fs::write(&secret, "canary").unwrap();
    inspect(&bench, "files", &[secret.display().to_string()]).await;
}

#[tokio::test]
async fn no_process_but_its_own_is_seen_or_reached() {
    let Some(bench) = prison() else { return };
    let neighbour = bench.start(shell("exec sleep 1000")).await;
    let server = std::process::id().to_string();
    inspect(&bench, "processes", &[server]).await;
    assert_eq!(neighbour.sandbox.has_exited(), None);
}

#[tokio::test]
async fn no_call_that_escapes_are_made_of_is_let_through() {
    let Some(bench) = prison() else { return };
    inspect(&bench, "calls", &[]).await;
}

#[tokio::test]
#[cfg(target_arch = "x86_64")]
async fn every_call_that_is_not_on_the_list_is_refused() {
    let Some(bench) = prison() else { return };
    let allowed = seccomp::allowed();
    // The kernel lets `uretprobe` (335) and `uprobe` (336) pass every filter, and kills whoever calls
    // them from anywhere but its own trampoline.
    let refused =
        (0..700).filter(|number| !allowed.contains(number) && ![335, 336].contains(number));
    let refused: Vec<String> = refused.map(|number| number.to_string()).collect();
    assert!(refused.len() > 300);
    let text = inspect(&bench, "numbers", &[refused.join(",")]).await;
    assert!(
        text.contains(&format!("{} refused", refused.len())),
        "{text}"
    );
}

#[tokio::test]
async fn no_port_of_the_machines_and_no_socket_without_a_file_is_reached() {
    let Some(bench) = prison() else { return };
    let _port = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("tidemill-canary-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    inspect(&bench, "network", &[name]).await;
}

#[tokio::test]
async fn a_fork_bomb_is_contained_and_neighbours_go_on() {
    let Some(bench) = prison() else { return };
    if let Limit::NotEnforced(reason) = &bench.spawner.limits().processes {
        return skip(reason);
    }
    let script =
        "import os\nprint('up', flush=True)\nwhile True:\n try: os.fork()\n except OSError: pass\n";
    let mut bomb = bench
        .start(program("/usr/bin/python3", &["-c", script]))
        .await;
    assert_eq!(bomb.says().await, "up\n");
    for _ in 0..5 {
        assert_eq!(bench.run("echo fine").await.0, "fine\n");
    }
    // It still forks, or its memory limit has ended it: which of its limits comes first is chance.
    bomb.sandbox.kill().await;
    // Nobody is left who could hold the pipe open.
    let mut rest = Vec::new();
    bomb.output.read_to_end(&mut rest).unwrap();
}

#[tokio::test]
async fn descriptors_processes_and_temporary_files_have_an_end() {
    let Some(bench) = prison() else { return };
    let text = inspect(&bench, "bombs", &[]).await;
    assert!(text.contains("descriptors 1024"), "{text}");
    assert!(text.contains("temporary 8388608"), "{text}");
}

#[tokio::test]
async fn a_flood_of_output_that_nobody_reads_holds_only_its_author() {
    let Some(bench) = prison() else { return };
    let flood = bench.start(shell("exec yes")).await;
    assert_eq!(bench.run("echo fine").await.0, "fine\n");
    assert_eq!(flood.sandbox.has_exited(), None);
    assert_eq!(flood.sandbox.kill().await.exit, Exit::KILLED);
}
