//! Programs that are started before their jobs come.

use super::*;
use crate::Early;

/// What is printed by whatever was started early, as soon as it waits.
pub(super) const EARLY: &str = "early";

/// Becomes `python3 -c CODE ARGUMENT…`.
const WAIT: &str = r#"
import os, sys
before = sorted(os.listdir("/")), os.listdir("/tmp"), os.path.exists("/var/task/lib")
print("early", flush=True)
told = b"".join(iter(lambda: os.read(0, 65536), b"")).split(b"\0")[:-1]
told = [part.decode() for part in told]
directory, count = told[0], int(told[1])
arguments, variables = told[2:2 + count], told[2 + count:]
null = os.open("/dev/null", os.O_RDONLY)
os.dup2(null, 0)
os.close(null)
os.environ.clear()
os.environ.update(variable.split("=", 1) for variable in variables)
os.chdir(directory)
sys.argv = ["-c"] + arguments[2:]
exec(compile(arguments[1], "<string>", "exec"))
"#;

/// What is to run, started early.
pub(super) fn of(job: &Job) -> Early {
    Early {
        program: job.program.clone(),
        binds: Vec::new(),
        folders: Vec::new(),
    }
}

/// The same job of Python's, for which an interpreter waits.
pub(super) async fn early_python(bench: &Bench, job: &Job) -> Job {
    let mut waiting = program("/usr/bin/python3", &["-c", WAIT]);
    waiting.program.environment.remove("ONLY");
    waiting.program.memory = 128 << 20;
    let early = Early {
        folders: vec![PathBuf::from("/var/task/lib"), PathBuf::from("/opt/lib")],
        ..of(&waiting)
    };
    bench.spawner.expect(&early).await;
    Job {
        early: Some(early),
        ..job.clone()
    }
}

fn python(script: &str) -> Job {
    program("/usr/bin/python3", &["-c", script, "an argument"])
}

#[tokio::test]
async fn a_program_that_was_started_early_finds_all_that_its_job_brings_and_saw_nothing_of_it() {
    let Some(bench) = Bench::new() else { return };
    if !has("python3") {
        return;
    }
    let code = bench.folder.path().join("code");
    fs::create_dir(&code).unwrap();
    fs::write(code.join("a"), "content").unwrap();
    let script = r#"
print(before[1:], "home" in before[0])
print(sys.argv[1:], os.environ["ONLY"], os.getcwd(), open("a").read())
print(os.listdir("/opt"), os.listdir("/var/task"), os.listdir("/tmp"), sorted(os.listdir("/")) == before[0])
print(os.stat("/tmp").st_uid, os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize)
print(sorted(os.listdir("/proc/self/fd")), os.readlink("/proc/self/fd/0"))
"#;
    let mut job = python(script);
    job.binds.push(Bind {
        from: code,
        to: PathBuf::from("/var/task"),
    });
    job.program.directory = PathBuf::from("/var/task");
    let job = early_python(&bench, &job).await;
    bench.spawner.until_early_ones_speak();
    let (text, exit) = bench.start(job).await.finish().await;
    assert_eq!(exit, Exit::Status(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            EARLY,
            "([], True) False",
            "['an argument'] this /var/task content",
            "[] ['a'] [] True",
            "993 8388608",
            "['0', '1', '2', '3'] /dev/null",
        ]
    );
}

#[tokio::test]
async fn no_two_jobs_share_what_was_started_early() {
    let Some(bench) = Bench::new() else { return };
    if !has("python3") {
        return;
    }
    let script = "import random\nprint(hash('x'), random.random(), id(object()))\n";
    let job = early_python(&bench, &python(script)).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let Job { early, .. } = &job;
        bench.spawner.expect(early.as_ref().unwrap()).await;
        let (text, _) = bench.start(job.clone()).await.finish().await;
        assert!(text.starts_with(EARLY), "{text}");
        told.push(text);
    }
    for part in 0..2 {
        let mut parts: Vec<&str> = told
            .iter()
            .map(|text| text.split_whitespace().nth(1 + part).unwrap())
            .collect();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), told.len(), "{told:?}");
    }
}

#[tokio::test]
async fn what_does_not_wait_for_its_job_is_done_without_and_replaced() {
    let Some(bench) = Bench::new() else { return };
    let deaf = shell("exec < /dev/null; echo deaf; exec sleep 1000");
    for useless in [deaf, program("/no/such/program", &[])] {
        let mut job = shell("echo fine");
        job.early = Some(of(&useless));
        for _ in 0..4 {
            bench.spawner.expect(job.early.as_ref().unwrap()).await;
            bench.spawner.until_early_ones_speak();
            let (text, exit) = bench.start(job.clone()).await.finish().await;
            assert_eq!((text.as_str(), exit), ("fine\n", Exit::Status(0)));
        }
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_started_is_the_same_error_either_way() {
    let Some(bench) = Bench::new() else { return };
    let mut job = shell("true");
    job.early = Some(of(&shell("cat")));
    job.binds.push(Bind {
        from: PathBuf::from("/no/such/folder"),
        to: PathBuf::from("/var/task"),
    });
    bench.spawner.expect(job.early.as_ref().unwrap()).await;
    let error = bench.spawner.spawn(job).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

#[tokio::test]
async fn the_memory_of_what_was_started_early_is_its_jobs() {
    let Some(bench) = Bench::new() else { return };
    if let Limit::NotEnforced(reason) = &bench.spawner.limits().memory {
        return skip(reason);
    }
    if !has("python3") {
        return;
    }
    let mut job = python("print('up', flush=True)\nheld = bytearray(200 << 20)\nprint('held')\n");
    for (memory, expected) in [(100 << 20, Exit::KILLED), (300 << 20, Exit::Status(0))] {
        job.program.memory = memory;
        let job = early_python(&bench, &job).await;
        let running = bench.start(job).await;
        assert_eq!(running.sandbox.exited().await, expected);
        let out_of_memory = running.sandbox.kill().await.out_of_memory;
        assert_eq!(out_of_memory, expected == Exit::KILLED);
    }
}
