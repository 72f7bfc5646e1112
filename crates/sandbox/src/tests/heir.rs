//! A server that was root and is somebody else by now. That takes a process of its own: each test runs this
//! executable again, with the part to play in its environment.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::Account;

const PART: &str = "TIDEMILL_TEST_PART";

/// What the part prints once a sandbox runs.
const UP: &str = "heir: up";

/// The part: root prepares, becomes nobody, and does as any server.
#[test]
fn the_heirs_part() {
    let Some(part) = from_caller(PART) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let nobody = Account::named("nobody").unwrap();
    nobody.give(folder.path()).unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "of root").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let config = SpawnerConfig {
        mount_point: folder.path().join("root"),
        disk: folder.path().join("disk"),
        spares: 2,
        spares_at_most: 4,
        early: 2,
    };
    let prepared = Spawner::prepare(config, Some(&nobody)).unwrap();
    nobody.assume().unwrap();
    // What is left of root's rights, and what comes back.
    assert_eq!(
        File::open(&secret).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let says = |what: &str| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().to_owned()
    };
    for (what, value) in [
        ("CapPrm:", 1 << 5),
        ("CapEff:", 1 << 5),
        ("CapInh:", 0),
        ("CapBnd:", 0),
    ] {
        assert_eq!(
            u64::from_str_radix(&says(what), 16).unwrap(),
            value,
            "{what}"
        );
    }
    assert_eq!(says("NoNewPrivs:"), "1");
    assert_eq!(says("Groups:"), "65534");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    runtime.block_on(async {
        let bench = Bench {
            spawner: prepared.start().unwrap(),
            folder,
        };
        assert_eq!(bench.spawner.weaknesses(), [] as [&str; 0]);
        match part.as_str() {
            "serve" => serve(&bench).await,
            _ => wait(&bench).await,
        }
    });
}

/// All that takes rights: ids, limits, a disk, ends of every kind.
async fn serve(bench: &Bench) {
    let mut job = shell("cat /proc/self/uid_map; df -k /tmp | tail -1 | cut -c1-9");
    job.temporary = Temporary::Disk(600 << 20);
    let (text, exit) = bench.run_job(job).await;
    assert_eq!(exit, Exit::Status(0), "{text}");
    let outside: u32 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(
        outside >= 2_000_000_000 && text.contains("/dev/loop"),
        "{text}"
    );

    let mut deaf = bench
        .start(shell(
            "trap 'echo told' TERM; echo up; while :; do sleep 0.01; done",
        ))
        .await;
    assert_eq!(deaf.says().await, "up\n");
    deaf.sandbox.terminate();
    assert_eq!(deaf.says().await, "told\n");
    let freezer = deaf.sandbox.freezer().unwrap();
    freezer.freeze().unwrap();
    freezer.thaw().unwrap();
    deaf.sandbox.limit_cpu().unwrap();
    assert_eq!(deaf.sandbox.kill().await.exit, Exit::KILLED);

    let mut greedy = shell("tail /dev/zero");
    greedy.program.memory = 64 << 20;
    let greedy = bench.start(greedy).await;
    greedy.sandbox.exited().await;
    assert!(greedy.sandbox.kill().await.out_of_memory);

    let early = shell("exit 1");
    let mut job = shell("echo late");
    job.early = Some(early::of(&early));
    assert_eq!(bench.run_job(job).await.0, "late\n");
}

/// Until it is killed.
async fn wait(bench: &Bench) {
    let mut running = bench.start(shell("echo up; exec sleep 1000")).await;
    assert_eq!(running.says().await, "up\n");
    println!("\n{UP}");
    std::future::pending().await
}

/// Has another process play a part.
fn play(part: &str) -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can become another user");
        return None;
    }
    // Without it no sandbox can be made at all.
    Bench::new()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "tests::heir::the_heirs_part", "--nocapture"])
        .env(PART, part)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Some(command)
}

/// The folders for groups that a process has made and that are still there.
fn groups_of(process: u32) -> Vec<PathBuf> {
    let mine = format!("tidemill-{process}-");
    let below = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    let own = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(&mine)
    };
    // Wherever this process is itself: its own groups, and those above them.
    let (limits, groups) = crate::group::detect();
    drop(limits);
    let family = groups.family();
    let above = family.folders().iter().filter_map(|folder| folder.parent());
    above
        .flat_map(|folder| below(folder.to_owned()))
        .filter(own)
        .collect()
}

#[tokio::test]
async fn who_was_root_makes_the_same_sandboxes_and_holds_nothing_but_the_right_to_end_them() {
    let Some(mut command) = play("serve") else {
        return;
    };
    let child = command.spawn().unwrap();
    let process = child.id();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
    assert_eq!(groups_of(process), [] as [PathBuf; 0]);
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "nobody is told of a group's end, and who tells of it has been killed"
)]
async fn nothing_is_left_of_who_was_root_when_it_is_killed() {
    let Some(mut command) = play("wait") else {
        return;
    };
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line == UP));
    assert!(
        !groups_of(child.id()).is_empty(),
        "it has some while it lives"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let begun = Instant::now();
    while !groups_of(child.id()).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "groups are left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
