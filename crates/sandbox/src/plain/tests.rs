use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, test_kill_process};

use crate::{Error, Exit, Limit, PlainSpawner, Program, Tree};

fn shell(script: &str) -> Program {
    Program {
        executable: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), script.into()],
        environment: BTreeMap::from([
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("ONLY".to_owned(), "this".to_owned()),
        ]),
        directory: PathBuf::from("/"),
        memory: 128 << 20,
    }
}

/// What must hold whether or not the machine has control groups.
fn both() -> [PlainSpawner; 2] {
    [
        PlainSpawner::start().unwrap(),
        PlainSpawner::without_groups().unwrap(),
    ]
}

async fn start(script: &str) -> (Tree, BufReader<File>) {
    start_with(&PlainSpawner::start().unwrap(), script).await
}

async fn start_with(spawner: &PlainSpawner, script: &str) -> (Tree, BufReader<File>) {
    let tree = spawner.spawn(shell(script), None).await.unwrap();
    let output = BufReader::new(File::from(tree.output().unwrap()));
    (tree, output)
}

async fn output_of(script: &str) -> String {
    let (tree, mut output) = start(script).await;
    let mut text = String::new();
    let reading = tokio::task::spawn_blocking(move || {
        output.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(tree.exited().await, Exit::Status(0));
    tree.kill().await;
    reading.await.unwrap()
}

fn pids(output: &mut BufReader<File>, count: usize) -> Vec<Pid> {
    let lines = output.lines().take(count);
    lines
        .map(|line| Pid::from_raw(line.unwrap().trim().parse().unwrap()).unwrap())
        .collect()
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

#[tokio::test]
async fn a_program_sees_the_environment_it_was_given_and_no_other() {
    let text = output_of("env").await;
    let names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
    assert!(text.contains("ONLY=this"));
    // The shell adds PWD, and sometimes _ and SHLVL.
    assert!(!names.contains(&"HOME") && !names.contains(&"CARGO_MANIFEST_DIR"));
}

#[tokio::test]
async fn no_descriptor_of_the_server_reaches_a_program() {
    let leaky = rustix::io::dup(File::open("/dev/zero").unwrap()).unwrap();
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
    let text = output_of("ls -l /proc/self/fd").await;
    assert!(!text.contains("/dev/zero"), "{text}");
}

#[tokio::test]
async fn limits_are_set_and_the_session_is_its_own() {
    let text = output_of("ulimit -n; ulimit -Hn; ulimit -c; ps -o sid= -p $$; echo $$").await;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[..3], ["1024", "1024", "0"]);
    assert_eq!(lines[3], lines[4]);
}

#[tokio::test]
async fn an_exit_is_told_as_status_or_signal() {
    let (tree, _output) = start("exit 3").await;
    assert_eq!(tree.exited().await, Exit::Status(3));
    assert_eq!(tree.kill().await.exit, Exit::Status(3));
    let (tree, _output) = start("kill -SEGV $$").await;
    let exit = tree.exited().await;
    assert_eq!(exit.to_string(), "signal: segmentation fault");
}

#[tokio::test]
async fn what_cannot_be_executed_is_an_error_that_names_it() {
    let mut program = shell("");
    program.executable = PathBuf::from("/no/such/program");
    let error = PlainSpawner::start()
        .unwrap()
        .spawn(program, None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Start { .. }));
    assert_eq!(error.to_string(), "could not start /no/such/program");
}

#[tokio::test]
async fn killing_a_tree_reaches_a_process_in_a_session_of_its_own() {
    // The inner shell has left the session and the process group; its child is an orphan.
    let script = "echo $$; setsid sh -c 'echo $$; (sleep 1000 & echo $!); exec sleep 1000' & wait";
    for spawner in both() {
        let (tree, mut output) = start_with(&spawner, script).await;
        let pids = pids(&mut output, 3);
        assert!(pids.iter().copied().all(is_alive));
        tree.kill().await;
        assert_eq!(pids.into_iter().filter(|pid| is_alive(*pid)).count(), 0);
    }
}

#[tokio::test]
async fn what_a_dead_root_left_behind_is_killed_too() {
    let script = "setsid sleep 1000 & echo $!; sleep 1000 & echo $!; exit 7";
    for spawner in both() {
        let (tree, mut output) = start_with(&spawner, script).await;
        let pids = pids(&mut output, 2);
        assert_eq!(tree.exited().await, Exit::Status(7));
        let ended = tree.kill().await;
        assert_eq!(ended.exit, Exit::Status(7));
        assert_eq!(pids.into_iter().filter(|pid| is_alive(*pid)).count(), 0);
    }
}

#[tokio::test]
async fn a_dropped_tree_is_killed() {
    let (tree, mut output) = start("echo $$; exec sleep 1000").await;
    let pid = pids(&mut output, 1)[0];
    drop(tree);
    // The pipe ends when its last writer is gone.
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    let ended = handle.map(|handle| {
        let mut fds = [PollFd::new(&handle, PollFlags::IN)];
        poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 10,
                tv_nsec: 0,
            }),
        )
    });
    assert!(matches!(ended, Err(_) | Ok(Ok(1))), "gone, or going");
}

#[tokio::test]
async fn passing_the_memory_limit_is_told_apart_from_a_crash() {
    let spawner = PlainSpawner::start().unwrap();
    if let Limit::NotEnforced(reason) = &spawner.limits().memory {
        skip(
            "passing_the_memory_limit_is_told_apart_from_a_crash",
            reason,
        );
        return;
    }
    let mut hungry = shell("head -c 200000000 /dev/zero | tail -c 199999999; kill -KILL $$");
    hungry.memory = 32 << 20;
    let tree = spawner.spawn(hungry, None).await.unwrap();
    assert_eq!(tree.exited().await, Exit::Signal(9));
    assert!(tree.kill().await.out_of_memory);
    let tree = spawner.spawn(shell("kill -KILL $$"), None).await.unwrap();
    tree.exited().await;
    assert!(!tree.kill().await.out_of_memory);
}

#[tokio::test]
async fn groups_are_removed_with_their_trees() {
    let spawner = PlainSpawner::start().unwrap();
    let tree = spawner
        .spawn(shell("cat /proc/self/cgroup"), None)
        .await
        .unwrap();
    let mut text = String::new();
    tree.exited().await;
    let output = File::from(tree.output().unwrap());
    tree.kill().await;
    BufReader::new(output).read_to_string(&mut text).unwrap();
    let own = text.lines().find_map(|line| line.split_once(":memory:"));
    if spawner.limits().memory == Limit::Enforced
        && let Some((_, path)) = own
    {
        assert!(path.contains("/tidemill-"), "{path}");
        assert!(!Path::new(&format!("/sys/fs/cgroup/memory{path}")).exists());
    }
}

/// Notes that this machine cannot show what a test is about, where the test's caller looks for it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by their caller where to note a skip"
)]
fn skip(test: &str, reason: &str) {
    if let Ok(file) = std::env::var("TIDEMILL_SKIPS") {
        let line = format!("skipped: sandbox::tests::{test}: memory is not limited, {reason}\n");
        let file = File::options().append(true).create(true).open(file);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}
