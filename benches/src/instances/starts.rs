//! From the decision to start a static program to its first byte: ours, container runtimes, and nothing
//! around it.
//!
//! All run the same program, and its byte comes through a pipe. Each container runtime is asked for what
//! makes it quickest. Starts take turns, with a pause between, as in life.

mod containers;
mod shell;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sandbox::Spawner;

use self::shell::Shell;
use crate::sandboxes::{both, job, with_waiting};
use crate::table::{Table, percentile};

const STARTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// A way to have a program started.
struct Way {
    name: &'static str,
    conditions: &'static str,
    means: Means,
    times: Vec<Duration>,
}

enum Means {
    Sandbox(Spawner),
    Plain(PathBuf),
    /// By a line for a shell.
    Shell(Shell, String),
}

/// Starts the program by every means that is there.
pub(super) async fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = first_byte(folder.path())?;
    let mut ways = vec![
        Way {
            name: "in a sandbox of ours",
            conditions: "all namespaces, memory and processes limited, system calls filtered",
            means: Means::Sandbox(with_waiting(folder.path(), 0)?),
            times: Vec::new(),
        },
        Way {
            name: "plain spawn and exec",
            conditions: "nothing around it",
            means: Means::Plain(program.clone()),
            times: Vec::new(),
        },
    ];
    ways.extend(containers::all(table, folder.path(), &program)?);
    let code = program.parent().context("the program's folder")?;
    for _ in 0..STARTS {
        for way in &mut ways {
            tokio::time::sleep_until(tokio::time::Instant::now() + PAUSE).await;
            let started = way.means.start(code).await;
            way.times.push(started.with_context(|| way.name)?);
        }
    }
    for way in &mut ways {
        way.times.sort_unstable();
    }
    let ours = percentile(&ways[0].times, 50).as_secs_f64();
    for way in &ways {
        let faster = percentile(&way.times, 50).as_secs_f64() / ours;
        table.row(
            &format!("start to the first byte, {}", way.name),
            &format!("static program, p50 / p99; {}", way.conditions),
            both(&way.times),
            format!("ours {faster:.2} × as quick"),
        );
    }
    Ok(())
}

impl Means {
    /// How long it took until the first byte.
    async fn start(&mut self, code: &Path) -> Result<Duration> {
        match self {
            Self::Sandbox(spawner) => {
                let job = job(code, "/var/task/first-byte");
                let begun = Instant::now();
                let sandbox = spawner.spawn(job).await?;
                let mut output = std::fs::File::from(sandbox.output()?);
                tokio::task::block_in_place(|| output.read_exact(&mut [0]))?;
                let took = begun.elapsed();
                sandbox.kill().await;
                Ok(took)
            }
            Self::Plain(program) => tokio::task::block_in_place(|| {
                let mut command = Command::new(program);
                command.stdin(Stdio::null()).stdout(Stdio::piped());
                let begun = Instant::now();
                let mut child = command.spawn()?;
                let mut output = child.stdout.take().context("its output")?;
                output.read_exact(&mut [0])?;
                let took = begun.elapsed();
                child.wait()?;
                Ok(took)
            }),
            Self::Shell(shell, line) => tokio::task::block_in_place(|| shell.first_byte(line)),
        }
    }
}

/// The program, linked statically, in a folder of its own.
fn first_byte(folder: &Path) -> Result<PathBuf> {
    let code = folder.join("code");
    std::fs::create_dir(&code)?;
    let program = code.join("first-byte");
    let status = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
        ])
        .arg("-o")
        .arg(&program)
        .arg(tests::repository().join("benches/src/bin/first-byte.rs"))
        .current_dir(tests::repository())
        .status()
        .context("start rustc")?;
    ensure!(status.success(), "build first-byte: {status}");
    Ok(program)
}
