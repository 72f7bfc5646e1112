//! What a sandbox costs: starts and invocations beside the same without one.
//!
//! The function is a compiled one that answers `null`, so that what is measured is the platform's own;
//! then one in each language whose interpreter may have been started before it is needed.
//! Starts are made one at a time with a pause between, as in life: in a tight loop the kernel's own
//! bookkeeping stays warm and looks cheaper than it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use clock::SystemClock;
use futures::future::try_join_all;
use instance::{
    Endpoints, Initialization, Invocation, Isolation, LogFormat, Outcome, Pool, PoolConfig,
    ProcessConfig, ProcessLauncher, Runtime, Spec, log_queue,
};
use sandbox::{Bind, Job, PlainSpawner, Program, Spawner, SpawnerConfig, Temporary};

use crate::table::{Table, percentile, time};

const STARTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);
const BURST: usize = 64;
/// Starts at once: from those that are ready, and far more than are.
const CROWDS: [usize; 2] = [BURST, 1_000];
/// How often, so that one disturbance is no result.
const CROWDED: usize = 5;
const WARM: usize = 20_000;
const TOGETHER: usize = 16;

/// Times bare starts, cold invocations, a burst of them, and warm invocations.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let code = folder.path().join("code");
    std::fs::create_dir(&code)?;
    // Cargo builds every binary of a package beside the one that it runs.
    let noop = std::env::current_exe()?.with_file_name("noop-bootstrap");
    std::fs::copy(&noop, code.join("bootstrap"))
        .with_context(|| format!("copy {}", noop.display()))?;
    let spawner = with_waiting(folder.path(), 4)?;
    for weakness in spawner.weaknesses() {
        table.row(
            "sandboxes here",
            "weaker than they could be",
            weakness,
            String::new(),
        );
    }
    bare_starts(table, &spawner, &code).await?;
    for size in CROWDS {
        crowd(table, &spawner, &code, size).await?;
    }
    let sandboxed = pool(folder.path(), Isolation::Sandboxed(spawner))?;
    let plain = pool(folder.path(), Isolation::None(PlainSpawner::start()?))?;
    let mut starts = Numbered::of("provided.al2023", "bootstrap", code)?;
    let (walls, none) = (
        cold(&sandboxed, &mut starts).await?,
        cold(&plain, &mut starts).await?,
    );
    let beside = format!("{} without one", both(&none));
    table.row(
        "cold invocation, compiled",
        "in a sandbox, p50 / p99",
        both(&walls),
        beside,
    );
    let (walls, none) = (
        burst(&sandboxed, &mut starts).await?,
        burst(&plain, &mut starts).await?,
    );
    table.row(
        "cold invocations at once",
        &format!("{BURST}, each in a sandbox"),
        format!("{walls:.0}/s"),
        format!("{none:.0}/s without one"),
    );
    for together in [1, TOGETHER] {
        let walls = warm(&sandboxed, &mut starts, together).await?;
        let none = warm(&plain, &mut starts, together).await?;
        table.row(
            "warm invocations",
            &format!("in a sandbox, {together} at a time"),
            format!("{:.0}/s, p50 {}", walls.0, time(walls.1)),
            format!("{:.0}/s, p50 {} without one", none.0, time(none.1)),
        );
    }
    let fresh = with_waiting(&folder.path().join("fresh"), 0)?;
    let fresh = pool(folder.path(), Isolation::Sandboxed(fresh))?;
    for language in LANGUAGES {
        interpreted(table, &language, folder.path(), &sandboxed, &fresh).await?;
    }
    sandboxed.shutdown(Duration::ZERO).await;
    fresh.shutdown(Duration::ZERO).await;
    plain.shutdown(Duration::ZERO).await;
    Ok(())
}

/// Sandboxes of which `early` have interpreters waiting in them.
pub(crate) fn with_waiting(folder: &Path, early: usize) -> Result<Spawner> {
    Ok(Spawner::start(SpawnerConfig {
        mount_point: folder.join("sandboxes"),
        disk: folder.join("temporary"),
        spares: 4,
        spares_at_most: 64,
        early,
    })?)
}

/// A language whose interpreter waits for functions.
pub(crate) struct Language {
    pub(crate) name: &'static str,
    pub(crate) runtime: &'static str,
    pub(crate) file: &'static str,
    pub(crate) handler: &'static str,
    pub(crate) text: &'static str,
    /// The interpreter, and what has it do nothing.
    pub(crate) nothing: [&'static str; 3],
}

pub(crate) const LANGUAGES: [Language; 2] = [
    Language {
        name: "Python",
        runtime: "python3.11",
        file: "app.py",
        handler: "app.handler",
        text: "def handler(event, context): return None\n",
        nothing: ["/usr/bin/python3", "-c", "pass"],
    },
    Language {
        name: "Node.js",
        runtime: "nodejs20.x",
        file: "index.js",
        handler: "index.handler",
        text: "exports.handler = async () => null;\n",
        nothing: ["/usr/bin/node", "-e", "0"],
    },
];

/// First answers of a function whose interpreter has waited, beside those of one that starts afresh, and
/// beside the interpreter alone.
async fn interpreted(
    table: &mut Table,
    language: &Language,
    folder: &Path,
    early: &Pool,
    fresh: &Pool,
) -> Result<()> {
    let [interpreter, option, text] = language.nothing;
    if !Path::new(interpreter).exists() {
        return Ok(());
    }
    let code = folder.join(language.runtime);
    std::fs::create_dir(&code)?;
    std::fs::write(code.join(language.file), language.text)?;
    let mut starts = Numbered::of(language.runtime, language.handler, code)?;
    // The first has others wait; it also has the interpreter looked for.
    invoke(early, &starts.spec()).await?;
    invoke(fresh, &starts.spec()).await?;
    let (waited, started) = (
        cold(early, &mut starts).await?,
        cold(fresh, &mut starts).await?,
    );
    let mut alone = Vec::new();
    for _ in 0..STARTS {
        tokio::time::sleep_until(tokio::time::Instant::now() + PAUSE).await;
        let begun = Instant::now();
        let status = Command::new(interpreter).args([option, text]).status()?;
        anyhow::ensure!(status.success(), "{interpreter}: {status}");
        alone.push(begun.elapsed());
    }
    alone.sort();
    let faster = percentile(&started, 50).as_secs_f64() / percentile(&waited, 50).as_secs_f64();
    table.row(
        &format!("first response, {}", language.name),
        "in a sandbox, interpreter waited, p50 / p99",
        both(&waited),
        format!(
            "{} with a fresh interpreter, {faster:.0}x at p50; {} plain {interpreter} {option} {text}",
            both(&started),
            both(&alone)
        ),
    );
    let (waited, started) = (
        burst(early, &mut starts).await?,
        burst(fresh, &mut starts).await?,
    );
    table.row(
        &format!("first responses at once, {}", language.name),
        &format!("{BURST}, of which 4 waited"),
        format!("{waited:.0}/s"),
        format!("{started:.0}/s when none waited"),
    );
    Ok(())
}

/// The median and the highest but a hundredth.
pub(crate) fn both(sorted: &[Duration]) -> String {
    format!(
        "{} / {}",
        time(percentile(sorted, 50)),
        time(percentile(sorted, 99))
    )
}

/// From the decision until the program has been executed.
async fn bare_starts(table: &mut Table, spawner: &Spawner, code: &Path) -> Result<()> {
    let mut plain = Vec::new();
    let mut walls = Vec::new();
    for _ in 0..STARTS {
        tokio::time::sleep_until(tokio::time::Instant::now() + PAUSE).await;
        let begun = Instant::now();
        let mut child = Command::new("/bin/true").stdout(Stdio::null()).spawn()?;
        plain.push(begun.elapsed());
        child.wait()?;
        tokio::time::sleep_until(tokio::time::Instant::now() + PAUSE).await;
        let begun = Instant::now();
        let sandbox = spawner.spawn(job(code, "/bin/true")).await?;
        walls.push(begun.elapsed());
        sandbox.exited().await;
        sandbox.kill().await;
    }
    plain.sort();
    walls.sort();
    let beside = format!("{} plain spawn and exec", both(&plain));
    table.row(
        "start of /bin/true",
        "in a sandbox until executed, p50 / p99",
        both(&walls),
        beside,
    );
    Ok(())
}

/// Sandboxes in a second, when many starts come at once, until the last program has been executed.
async fn crowd(table: &mut Table, spawner: &Spawner, code: &Path, size: usize) -> Result<()> {
    let (mut plain, mut walls) = (Vec::new(), Vec::new());
    for _ in 0..CROWDED {
        let begun = Instant::now();
        let children = (0..size)
            .map(|_| Command::new("/bin/true").stdout(Stdio::null()).spawn())
            .collect::<std::io::Result<Vec<_>>>()?;
        plain.push(begun.elapsed());
        for mut child in children {
            child.wait()?;
        }
        // Until as many are ready again as are kept.
        tokio::time::sleep(PAUSE * BURST.try_into()?).await;
        let begun = Instant::now();
        let started = (0..size).map(|_| spawner.spawn(job(code, "/bin/true")));
        let sandboxes = try_join_all(started).await?;
        walls.push(begun.elapsed());
        for sandbox in sandboxes {
            sandbox.kill().await;
        }
    }
    plain.sort();
    walls.sort();
    let [walls, plain] =
        [walls, plain].map(|times| size as f64 / percentile(&times, 50).as_secs_f64());
    table.row(
        "starts of /bin/true at once",
        &format!("{size}, each in a sandbox, p50 of {CROWDED}"),
        format!("{walls:.0}/s"),
        format!("{plain:.0}/s plain spawn and exec, {:.2}x", walls / plain),
    );
    Ok(())
}

/// A program in a sandbox as functions have it, `/var/task` being `code`.
pub(crate) fn job(code: &Path, executable: &str) -> Job {
    Job {
        program: Program {
            executable: PathBuf::from(executable),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: PathBuf::from("/"),
            memory: 512 << 20,
        },
        companions: Vec::new(),
        root: None,
        binds: vec![Bind {
            from: code.to_owned(),
            to: PathBuf::from("/var/task"),
        }],
        temporary: Temporary::Memory(512 << 20),
        names: BTreeMap::new(),
        sockets: 1,
        listen: Vec::new(),
        early: None,
    }
}

/// Makes a new revision for every cold start.
pub(crate) struct Numbered {
    runtime: Runtime,
    handler: String,
    code: PathBuf,
    next: u64,
}

impl Numbered {
    pub(crate) fn of(runtime: &str, handler: &str, code: PathBuf) -> Result<Self> {
        Ok(Self {
            runtime: runtime.parse()?,
            handler: handler.to_owned(),
            code,
            next: 0,
        })
    }

    pub(crate) fn spec(&mut self) -> Arc<Spec> {
        self.next += 1;
        Arc::new(Spec {
            account: "000000000000".to_owned(),
            function: self.runtime.to_string(),
            version: "$LATEST".to_owned(),
            revision: self.next.to_string(),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:noop".to_owned(),
            region: "us-east-1".to_owned(),
            runtime: self.runtime,
            handler: self.handler.clone(),
            code: self.code.clone(),
            image: None,
            opt: None,
            // One processor's worth: the platform is measured, not a function's share of it.
            memory_mib: 1769,
            temporary_mib: 512,
            timeout: Duration::from_secs(30),
            environment: BTreeMap::new(),
            log_group: "/aws/lambda/noop".to_owned(),
            log_format: LogFormat::Text,
            initialization: Initialization::OnDemand,
        })
    }
}

pub(crate) fn pool(folder: &Path, isolation: Isolation) -> Result<Pool> {
    let config = ProcessConfig {
        instances: folder.join("instances"),
        runtimes: folder.join("runtimes"),
        search_path: "/usr/bin:/bin".to_owned(),
        endpoints: Endpoints::default(),
    };
    // Nobody reads the log: it fills and drops, as a log may.
    let (sink, _) = log_queue(1 << 20);
    let clock = Arc::new(SystemClock::new());
    let launcher = ProcessLauncher::new(config, isolation, clock, Arc::new(sink))?;
    Ok(Pool::new(Arc::new(launcher), PoolConfig::default()))
}

pub(crate) async fn invoke(pool: &Pool, spec: &Arc<Spec>) -> Result<()> {
    let invocation = Invocation {
        request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        payload: Bytes::from_static(b"{}"),
        arn: spec.arn.clone(),
        trace_id: None,
        client_context: None,
    };
    match pool.invoke(spec, invocation).await?.outcome {
        Outcome::Success(_) => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

/// From the decision to the answer of an instance that did not exist. Sorted.
async fn cold(pool: &Pool, starts: &mut Numbered) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        tokio::time::sleep_until(tokio::time::Instant::now() + PAUSE).await;
        let spec = starts.spec();
        let begun = Instant::now();
        invoke(pool, &spec).await?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times)
}

/// Cold invocations in a second, when many come at once.
async fn burst(pool: &Pool, starts: &mut Numbered) -> Result<f64> {
    let specs: Vec<_> = (0..BURST).map(|_| starts.spec()).collect();
    let begun = Instant::now();
    try_join_all(specs.iter().map(|spec| invoke(pool, spec))).await?;
    Ok(BURST as f64 / begun.elapsed().as_secs_f64())
}

/// Invocations in a second and their median, `together` at a time.
async fn warm(pool: &Pool, starts: &mut Numbered, together: usize) -> Result<(f64, Duration)> {
    let spec = starts.spec();
    try_join_all((0..together).map(|_| invoke(pool, &spec))).await?;
    let begun = Instant::now();
    let lanes = (0..together).map(async |_| {
        let mut times = Vec::new();
        for _ in 0..WARM / together {
            let begun = Instant::now();
            invoke(pool, &spec).await?;
            times.push(begun.elapsed());
        }
        Ok::<_, anyhow::Error>(times)
    });
    let mut times: Vec<Duration> = try_join_all(lanes).await?.into_iter().flatten().collect();
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort();
    Ok((rate, percentile(&times, 50)))
}
