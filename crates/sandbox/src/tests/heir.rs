//! A server that was root and is somebody else by now. That takes a process of its own: each test runs this
//! executable again, with the part to play in its environment.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::*;
use crate::Account;

mod taken_over;

const PART: &str = "TIDEMILL_TEST_PART";

/// A folder that only root may enter.
const ROOTS: &str = "TIDEMILL_TEST_ROOTS";

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
    nobody.give(File::open(folder.path()).unwrap()).unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "of root").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let prepared = Spawner::prepare(config(folder.path()), Some(&nobody)).unwrap();
    // A test has a thread beside it.
    let error = nobody.assume().unwrap_err().to_string();
    assert!(error.contains("thread"), "{error}");
    nobody.take_over().unwrap();
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
        let weaknesses = bench.spawner.weaknesses();
        if part == "blind" {
            assert!(matches!(&*weaknesses, [one] if one.contains("hidepid")));
            return taken_over::look(&bench).await;
        }
        assert_eq!(weaknesses, [] as [&str; 0]);
        match part.as_str() {
            "wait" => wait(&bench).await,
            "ask" => taken_over::ask(&bench, Path::new(&from_caller(ROOTS).unwrap())).await,
            _ => serve(&bench).await,
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
    Some(with_part(Command::new("/proc/self/exe"), part))
}

fn with_part(mut command: Command, part: &str) -> Command {
    command
        .args(["--exact", "tests::heir::the_heirs_part", "--nocapture"])
        .env(PART, part)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Where sandboxes are put together for a process that was root.
fn mount_points(process: u32) -> Vec<PathBuf> {
    named_after(process, Path::new("/run"))
}

/// What a spawner of this process has made in a folder.
fn named_after(process: u32, folder: &Path) -> Vec<PathBuf> {
    let mine = format!("tidemill-{process}-");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let own = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(&mine)
    };
    paths.filter(own).collect()
}

/// The folders for groups that a process has made and that are still there.
fn groups_of(process: u32) -> Vec<PathBuf> {
    // Wherever this process is itself: its own groups, and those above them.
    let (limits, groups) = crate::group::detect();
    drop(limits);
    let family = groups.family();
    let above = family.folders().iter().filter_map(|folder| folder.parent());
    above
        .flat_map(|folder| named_after(process, folder))
        .collect()
}

/// Has another process play a part to its end. Nothing of it is there then, and nobody else has removed it: as
/// long as nobody has waited for the process, it counts as one that lives.
fn played(mut command: Command) {
    let mut child = command.spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let mut text = String::new();
    let mut output = child.stdout.take().unwrap();
    output.read_to_string(&mut text).unwrap();
    let errors = reading.join().unwrap().unwrap();
    assert!(text.contains("1 passed"), "{text}\n{errors}");
    assert_eq!(groups_of(child.id()), [] as [PathBuf; 0]);
    assert_eq!(mount_points(child.id()), [] as [PathBuf; 0]);
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn who_was_root_makes_the_same_sandboxes_and_holds_nothing_but_the_right_to_end_them() {
    let Some(command) = play("serve") else {
        return;
    };
    played(command);
}

#[tokio::test]
async fn who_was_root_is_served_with_its_own_rights_only() {
    if play("ask").is_none() {
        return;
    }
    let roots = TempDir::new().unwrap();
    let (open, file) = (roots.path().join("open"), roots.path().join("open/file"));
    fs::create_dir(&open).unwrap();
    fs::write(&file, "root's").unwrap();
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // The server's own program may be where the server does not get.
    let program = roots.path().join("program");
    fs::copy("/proc/self/exe", &program).unwrap();
    let mut command = with_part(Command::new(program), "ask");
    command.env(ROOTS, roots.path());
    played(command);
    assert_eq!(fs::read(file).unwrap(), b"root's");
    let count = |folder| fs::read_dir(folder).unwrap().count();
    assert_eq!((count(roots.path()), count(&open)), (2, 1));
}

#[tokio::test]
async fn who_does_not_see_other_users_processes_says_what_that_costs() {
    let Some(_) = play("blind") else { return };
    let mut command = Command::new("unshare");
    let script = "mount -t proc -o hidepid=2 proc /proc && exec \"$0\" \"$@\"";
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap());
    played(with_part(command, "blind"));
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
    let work = TempDir::new().unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = command.env("TMPDIR", work.path()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line == UP));
    let left = || [groups_of(child.id()), mount_points(child.id())].concat();
    assert!(left().len() > 1, "it has some while it lives");
    rustix::process::kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    let begun = Instant::now();
    // As long as nobody has waited for it, nobody else takes it for gone.
    while !left().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", left());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.wait().unwrap();
}
