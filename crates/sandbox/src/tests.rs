//! What a sandbox is, seen from inside and outside. Where this machine cannot make sandboxes, or
//! lacks what a test is about, the test notes a skip.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Bind, Error, Exit, Job, Limit, Program, Sandbox, Spawner, SpawnerConfig, Temporary};

mod early;
mod heir;
mod prison;
mod roots;

/// A spawner and the folder it works on.
struct Bench {
    folder: TempDir,
    spawner: Spawner,
}

impl Bench {
    /// `None`, and a skip, where no sandbox can be made.
    fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        match Spawner::start(config(folder.path())) {
            Ok(spawner) => Some(Self { folder, spawner }),
            Err(Error::Prepare { act, source }) => {
                skip(&format!("no sandbox can be made here: {act}: {source}"));
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn start(&self, job: Job) -> Running {
        let sandbox = self.spawner.spawn(job).await.unwrap();
        let output = File::from(sandbox.output().unwrap());
        Running { sandbox, output }
    }

    /// What a script prints, and how it ends.
    async fn run(&self, script: &str) -> (String, Exit) {
        self.run_job(shell(script)).await
    }

    /// What a job prints, and how it ends.
    async fn run_job(&self, job: Job) -> (String, Exit) {
        self.start(job).await.finish().await
    }
}

fn config(folder: &Path) -> SpawnerConfig {
    SpawnerConfig {
        mount_point: folder.join("root"),
        disk: folder.join("disk"),
        spares: 2,
        spares_at_most: 4,
        early: 2,
    }
}

struct Running {
    sandbox: Sandbox,
    output: File,
}

impl Running {
    async fn finish(mut self) -> (String, Exit) {
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = Vec::new();
            self.output.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let exit = self.sandbox.exited().await;
        self.sandbox.kill().await;
        (reading.await.unwrap(), exit)
    }

    /// The next bytes that it prints.
    async fn says(&mut self) -> String {
        let mut output = self.output.try_clone().unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = [0; 4096];
            let count = output.read(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        });
        reading.await.unwrap()
    }
}

fn shell(script: &str) -> Job {
    program("/bin/sh", &["-c", script])
}

fn program(executable: &str, arguments: &[&str]) -> Job {
    Job {
        program: Program {
            executable: PathBuf::from(executable),
            arguments: arguments.iter().map(PathBuf::from).collect(),
            environment: BTreeMap::from([
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("ONLY".to_owned(), "this".to_owned()),
            ]),
            directory: PathBuf::from("/"),
            memory: 256 << 20,
        },
        companions: Vec::new(),
        root: None,
        binds: Vec::new(),
        temporary: Temporary::Memory(8 << 20),
        listen: Vec::new(),
        names: BTreeMap::new(),
        sockets: 0,
        early: None,
    }
}

fn has(program: &str) -> bool {
    let found = ["/usr/bin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).is_file());
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Notes that this machine cannot show what the running test is about, where its caller looks.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by their caller where to note a skip"
)]
fn skip(reason: &str) {
    if let Ok(file) = std::env::var("TIDEMILL_SKIPS") {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let line = format!("skipped: sandbox::{test}: {reason}\n");
        let file = File::options().append(true).create(true).open(file);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn a_program_gets_its_environment_files_and_folder_and_no_other() {
    let Some(bench) = Bench::new() else { return };
    let code = bench.folder.path().join("code");
    fs::create_dir(&code).unwrap();
    fs::write(code.join("a"), "content").unwrap();
    let mut job = shell("env; pwd; cat a; ls -A /proc/self/fd | wc -l; ls -A / | tr '\\n' ' '");
    job.binds.push(Bind {
        from: code,
        to: PathBuf::from("/var/task"),
    });
    job.program.directory = PathBuf::from("/var/task");
    let (text, exit) = bench.start(job).await.finish().await;
    assert_eq!(exit, Exit::Status(0), "{text}");
    assert!(text.contains("ONLY=this"), "{text}");
    assert!(!text.contains("CARGO"), "{text}");
    // Standard three, and the one that ls itself opens.
    assert!(text.contains("/var/task\ncontent4\n"), "{text}");
    for absent in ["root", "home", "sys", "run", "srv", "mnt", "work"] {
        let listed = text.lines().last().unwrap();
        assert!(!listed.split(' ').any(|name| name == absent), "{listed}");
    }
}

#[tokio::test]
async fn a_program_is_nobody_and_can_become_nobody_else() {
    let Some(bench) = Bench::new() else { return };
    let (text, _) = bench
        .run("id; cat /proc/self/status; cat /proc/self/uid_map")
        .await;
    assert!(
        text.contains("uid=993(sbx_user1051) gid=990(sbx_user1051)"),
        "{text}"
    );
    for none in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(
            text.contains(&format!("{none}:\t0000000000000000")),
            "{text}"
        );
    }
    assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    assert!(text.contains("Seccomp:\t2"), "{text}");
    let map: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!((map[0], map[2]), ("993", "1"));
    assert_ne!(map[1], "0", "root of this machine is nobody inside");
}

#[tokio::test]
async fn an_exit_is_told_as_status_or_signal_and_not_as_pid_ones() {
    let Some(bench) = Bench::new() else { return };
    assert_eq!(bench.run("exit 3").await.1, Exit::Status(3));
    assert_eq!(bench.run("kill -SEGV $$").await.1, Exit::Signal(11));
    // The first process of a namespace is deaf to this; the program is not the first.
    assert_eq!(bench.run("kill -TERM $$").await.1, Exit::Signal(15));
}

#[tokio::test]
async fn temporary_files_on_disk_are_no_memory_and_have_an_end() {
    let Some(bench) = Bench::new() else { return };
    for limit in [&bench.spawner.limits().disk, &bench.spawner.limits().memory] {
        if let Limit::NotEnforced(reason) = limit {
            return skip(reason);
        }
    }
    let disk = || fs::read_dir(bench.folder.path().join("disk")).unwrap();
    let devices = || {
        let devices = fs::read_dir("/sys/block").unwrap().flatten();
        let files = devices.map(|device| device.path().join("loop/backing_file"));
        let files = files.filter_map(|file| fs::read_to_string(file).ok());
        let ours = bench.folder.path().to_str().unwrap();
        files.filter(|file| file.starts_with(ours)).count()
    };
    for _ in 0..2 {
        let mut job = shell(
            "ls -A /tmp; stat -c '%a %U' /tmp
             head -c 200M /dev/zero > /tmp/much && echo written
             head -c 200M /dev/zero > /tmp/more || stat -c %s /tmp/more; sleep 1000",
        );
        job.temporary = Temporary::Disk(300 << 20);
        job.program.memory = 32 << 20;
        let mut running = bench.start(job).await;
        let mut text = String::new();
        while text.lines().count() < 4 || !text.ends_with('\n') {
            text.push_str(&running.says().await);
        }
        assert!(text.starts_with("1777 sbx_user1051\nwritten\n"), "{text}");
        let more: u64 = text.lines().last().unwrap().parse().unwrap();
        assert!((50 << 20..100 << 20).contains(&more), "{text}");
        assert_eq!(devices(), 1);
        running.sandbox.kill().await;
        // What had been written goes to the disk before it goes altogether.
        while devices() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let left: Vec<_> = disk().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["314572800.ext4"]);
}

#[tokio::test]
async fn what_companions_print_is_told_apart() {
    let Some(bench) = Bench::new() else { return };
    let mut job = shell("echo program; sleep 1000");
    job.companions = vec![
        shell("echo one; sleep 1000").program,
        shell("echo two >&2; sleep 1000").program,
    ];
    let mut running = bench.start(job).await;
    assert_eq!(running.says().await, "program\n");
    let theirs = running.sandbox.take_companions_output().unwrap();
    assert!(running.sandbox.take_companions_output().is_none());
    let mut of_companions = Running {
        output: File::from(theirs),
        ..running
    };
    let mut text = String::new();
    while text.len() < 8 {
        text.push_str(&of_companions.says().await);
    }
    assert!(matches!(&*text, "one\ntwo\n" | "two\none\n"), "{text}");
    of_companions.sandbox.kill().await;
}

#[tokio::test]
async fn a_socket_of_the_sandbox_reaches_what_listens_inside_and_nothing_outside() {
    let Some(bench) = Bench::new() else { return };
    if !has("python3") {
        return;
    }
    let script = "import socket\n\
        server = socket.create_server(('sandbox.localdomain', 4243))\n\
        print('listening', flush=True)\n\
        while True:\n    server.accept()[0].sendall(b'from inside')\n";
    let mut job = program("/usr/bin/python3", &["-c", script]);
    job.sockets = 2;
    let mut running = bench.start(job).await;
    assert_eq!(running.says().await, "listening\n");
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = |owned: OwnedFd| tokio::net::TcpSocket::from_std_stream(owned.into());
    let mut sockets = running.sandbox.take_sockets().into_iter().map(socket);
    let (first, second) = (sockets.next().unwrap(), sockets.next().unwrap());
    assert!(sockets.next().is_none());
    let mut connected = first.connect(([127, 0, 0, 1], 4243).into()).await.unwrap();
    let mut told = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut connected, &mut told)
        .await
        .unwrap();
    assert_eq!(told, "from inside");
    let refused = second
        .connect(outside.local_addr().unwrap())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    running.sandbox.kill().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_an_error_that_names_it() {
    let Some(bench) = Bench::new() else { return };
    for executable in ["/no/such/program", "/etc/passwd"] {
        let error = bench.spawner.spawn(program(executable, &[])).await;
        let error = error.unwrap_err();
        assert!(matches!(&error, Error::Start { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("could not start {executable}"));
    }
}

#[tokio::test]
async fn a_bind_that_is_not_there_is_an_error_that_names_it() {
    let Some(bench) = Bench::new() else { return };
    for (from, to) in [("/no/such/folder", "/var/task"), ("/usr", "/opt/../usr")] {
        let mut job = shell("true");
        job.binds.push(Bind {
            from: PathBuf::from(from),
            to: PathBuf::from(to),
        });
        let error = bench.spawner.spawn(job).await.unwrap_err();
        assert!(matches!(&error, Error::Prepare { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn whoever_connects_to_a_listener_inside_reaches_its_holder() {
    let Some(bench) = Bench::new() else { return };
    if !has("python3") {
        return;
    }
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let script = format!(
        "import socket\n\
         print(socket.create_connection(('127.0.0.1', 9001)).recv(9), flush=True)\n\
         try: socket.create_connection(('127.0.0.1', {port}))\n\
         except OSError as error: print(error)\n"
    );
    let mut job = program("/usr/bin/python3", &["-c", &script]);
    job.listen = vec!["127.0.0.1:9001".parse::<SocketAddrV4>().unwrap()];
    let mut running = bench.start(job).await;
    let listener = running.sandbox.take_listeners().pop().unwrap();
    listener.set_nonblocking(false).unwrap();
    let accepting = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"wave").unwrap();
    });
    accepting.await.unwrap();
    let (text, _) = running.finish().await;
    assert!(text.starts_with("b'wave'\n"), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn killing_a_sandbox_ends_daemons_that_ignore_signals() {
    let Some(bench) = Bench::new() else { return };
    let script = "trap '' TERM INT HUP; for i in 1 2 3 4 5; do setsid sh -c 'trap \"\" TERM; \
                  sleep 1000 & sleep 1000' & done; sleep 0.2; echo up; wait";
    let mut running = bench.start(shell(script)).await;
    assert_eq!(running.says().await, "up\n");
    let ended = running.sandbox.kill().await;
    assert_eq!(ended.exit, Exit::KILLED);
    assert!(!ended.out_of_memory);
    // The pipe ends when its last writer is gone, and there is no wait between: they are gone.
    let mut rest = Vec::new();
    running.output.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn what_the_program_leaves_behind_ends_with_it() {
    let Some(bench) = Bench::new() else { return };
    let (text, exit) = bench.run("setsid sleep 1000 & sleep 1000 & exit 7").await;
    assert_eq!((text.as_str(), exit), ("", Exit::Status(7)));
}

#[tokio::test]
async fn passing_the_memory_limit_is_told_apart_from_a_crash() {
    let Some(bench) = Bench::new() else { return };
    if let Limit::NotEnforced(reason) = &bench.spawner.limits().memory {
        return skip(reason);
    }
    let mut hungry = shell("head -c 200000000 /dev/zero | tail -c 199999999; kill -KILL $$");
    hungry.program.memory = 32 << 20;
    let running = bench.start(hungry).await;
    assert_eq!(running.sandbox.exited().await, Exit::KILLED);
    assert!(running.sandbox.kill().await.out_of_memory);
    let running = bench.start(shell("kill -KILL $$")).await;
    assert_eq!(running.sandbox.exited().await, Exit::KILLED);
    assert!(!running.sandbox.kill().await.out_of_memory);
}

#[tokio::test]
async fn a_frozen_sandbox_stands_still_and_can_be_killed() {
    let Some(bench) = Bench::new() else { return };
    if let Limit::NotEnforced(reason) = &bench.spawner.limits().freezing {
        return skip(reason);
    }
    let script = "echo up; while :; do :; done";
    let mut running = bench.start(shell(script)).await;
    assert_eq!(running.says().await, "up\n");
    let freezer = running.sandbox.freezer().unwrap();
    freezer.freeze().unwrap();
    // The kernel stops them one by one. A member that ran on would keep this from ending.
    while !running.sandbox.frozen_state().contains("frozen 1") {
        std::thread::yield_now();
    }
    freezer.thaw().unwrap();
    freezer.freeze().unwrap();
    assert_eq!(running.sandbox.kill().await.exit, Exit::KILLED);
}

#[tokio::test]
async fn processor_time_is_in_proportion_to_memory() {
    let Some(bench) = Bench::new() else { return };
    if let Limit::NotEnforced(reason) = &bench.spawner.limits().cpu {
        return skip(reason);
    }
    if !has("python3") {
        return;
    }
    // A quarter of a processor for a second of the clock.
    let script = "import time\n\
                  print('up', flush=True)\n\
                  time.sleep(0.2)\n\
                  begun, used = time.monotonic(), time.process_time()\n\
                  while time.monotonic() - begun < 1: pass\n\
                  print((time.process_time() - used) / (time.monotonic() - begun))\n";
    let mut job = program("/usr/bin/python3", &["-c", script]);
    job.program.memory = 442 << 20;
    let mut running = bench.start(job).await;
    assert_eq!(running.says().await, "up\n");
    running.sandbox.limit_cpu().unwrap();
    let share: f64 = running.finish().await.0.trim().parse().unwrap();
    assert!(share < 0.32, "{share}");
}

#[tokio::test]
async fn nothing_is_left_of_hundreds_of_sandboxes() {
    let Some(bench) = Bench::new() else { return };
    let starts: usize = from_caller("TIDEMILL_SANDBOX_STARTS")
        .and_then(|count| count.parse().ok())
        .unwrap_or(300);
    for number in 0..starts {
        let mut job = shell("echo x > /tmp/x & exit 0");
        if number % 3 == 0 {
            job.early = Some(early::of(&shell("cat > /tmp/x; echo x > /tmp/y & exit 0")));
        }
        let running = bench.start(job).await;
        running.sandbox.exited().await;
        running.sandbox.kill().await;
    }
    let Bench { folder, spawner } = bench;
    let processes = spawner.process_ids().to_vec();
    let mut remains = spawner.group_folders();
    drop(spawner);
    let process = |id| PathBuf::from(format!("/proc/{id}"));
    remains.extend(processes.into_iter().map(process));
    remains.retain(|path| path.exists());
    assert!(remains.is_empty(), "{remains:?}");
    assert_eq!(fs::read_dir(folder.path().join("root")).unwrap().count(), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let place = folder.path().to_str().unwrap();
    assert!(!mounts.contains(place), "{mounts}");
}

#[tokio::test]
async fn a_socket_can_be_the_programs_standard_input_and_its_way_back() {
    let Some(bench) = Bench::new() else { return };
    let mut job = shell("read word; echo \"$word too\" >&0");
    // What is started early reads its job there: this one is not to be given to it.
    job.early = Some(early::of(&shell("exec sleep 1000")));
    // The last descriptor that goes along is that of the disk.
    job.temporary = Temporary::Disk(600 << 20);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let sandbox = bench.spawner.spawn_with(job, Some(theirs.into())).await;
    let sandbox = sandbox.unwrap();
    ours.write_all(b"this\n").unwrap();
    let mut answer = [0; 9];
    ours.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"this too\n");
    assert_eq!(sandbox.exited().await, Exit::Status(0));
}

#[expect(
    clippy::disallowed_methods,
    reason = "a longer run is asked for by command"
)]
fn from_caller(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[tokio::test]
async fn sandboxes_end_when_the_spawner_process_does() {
    let Some(bench) = Bench::new() else { return };
    let mut running = bench.start(shell("echo up; exec sleep 1000")).await;
    assert_eq!(running.says().await, "up\n");
    for id in bench.spawner.process_ids() {
        let process = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    }
    assert_eq!(running.sandbox.exited().await, Exit::KILLED);
    let error = loop {
        // What was ready has ended with its parent, and what is new cannot be made.
        match bench.spawner.spawn(shell("true")).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Prepare { .. } | Error::Start { .. }));
}

/// Runs the others again as a user without any right, where this one is root.
#[test]
fn a_normal_user_gets_the_same_walls() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can become a normal user to try");
    }
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("tests");
    fs::copy("/proc/self/exe", &copy).unwrap();
    for readable in [folder.path(), &copy] {
        fs::set_permissions(readable, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let skips = folder.path().join("skips");
    fs::write(&skips, "").unwrap();
    fs::set_permissions(&skips, fs::Permissions::from_mode(0o666)).unwrap();
    let user = 64_000;
    let output = std::process::Command::new(&copy)
        .args(["tests::", "--skip", "plain::", "--skip", "a_normal_user"])
        .current_dir("/")
        .env("TMPDIR", "/tmp")
        .env("TIDEMILL_SKIPS", &skips)
        .uid(user)
        .gid(user)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let skips = fs::read_to_string(&skips).unwrap();
    if skips.contains("no sandbox can be made here") {
        skip("a normal user may not make user namespaces on this machine");
    }
}
