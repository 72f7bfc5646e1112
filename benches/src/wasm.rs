//! WebAssembly functions: fresh instances through the worker beside the engine alone.
//!
//! The floor is the same engine with the same settings and the same host, in a loop on one thread, times
//! the processors; what is measured is one process with a pool, a connection and a worker in its sandbox,
//! then the whole way from a topic through the function to the settlement. The function is the example
//! `word-count`, which parses JSON, of each kind: as a module and as a component, each as a command and
//! handed its event.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clock::SystemClock;
use futures::future::try_join_all;
use instance::{
    Initialization, Invocation, Isolation, LogFormat, Outcome, Pool, PoolConfig, Spec, WasmConfig,
    WasmLauncher, log_queue,
};
use sandbox::{Spawner, SpawnerConfig};
use serde_json::json;
use wasm_worker::Bare;

use crate::dispatch::{Case, drain};
use crate::table::{Table, percentile, time};

/// Runs that are measured, and those before them.
const RUNS: usize = 100_000;
const WARM: usize = 2_000;

const EVENT: &[u8] =
    br#"{"text": "the quick brown fox jumps over the lazy dog, and over and over again"}"#;

/// What it answers to that.
const COUNTED: &[u8] = b"{\"words\":14}";

/// An event with so many records of a word each, as [`drain`] has them, and what it answers to that.
fn records(count: usize) -> (String, String) {
    let record = json!({
        "topic": "events", "partition": 0, "offset": 12_345, "timestamp": 1_545_084_650_987_u64,
        "timestampType": "CREATE_TIME", "key": "MTIzNDU=", "value": "eHh4".repeat(33), "headers": [],
    });
    let event = json!({
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": "127.0.0.1:9092",
        "records": {"events-0": vec![record; count]},
    });
    let counted = format!("{{\"records\":{count},\"words\":{count}}}");
    (event.to_string(), counted)
}

/// The same function, of one kind.
struct Kind {
    name: &'static str,
    /// The example's folder.
    example: &'static str,
    target: &'static str,
    /// As it is built.
    file: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "word-count",
        example: "word-count",
        target: "wasm32-wasip1",
        file: "word-count.wasm",
    },
    Kind {
        name: "word-count-core",
        example: "word-count-core",
        target: "wasm32-wasip1",
        file: "word_count_core.wasm",
    },
    Kind {
        name: "word-count, a component",
        example: "word-count",
        target: "wasm32-wasip2",
        file: "word-count.wasm",
    },
    Kind {
        name: "word-count-component",
        example: "word-count-component",
        target: "wasm32-wasip2",
        file: "word_count_component.wasm",
    },
];

/// Times the engine, the worker at several concurrencies, and a topic's records; of the other kinds than
/// commands, the engine and the worker at one.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pool = pool(folder.path())?;
    let mut commands = None;
    for (number, kind) in KINDS.iter().enumerate() {
        // The file's name in the package, and the function's.
        let handler = format!("kind-{number}");
        let module = built(folder.path(), &handler, kind)?;
        let floor = floor(&module, EVENT, COUNTED)?;
        table.row(
            &format!("wasm {}, the engine alone", kind.name),
            "fresh instances in a loop, a thread for each processor",
            format!("{floor:.0}/s"),
            String::new(),
        );
        let spec = spec(folder.path(), &handler);
        let several: &[usize] = if commands.is_none() {
            &[1, 16, 128]
        } else {
            &[16]
        };
        for together in several {
            let (rate, p50) = serve(&pool, &spec, *together).await?;
            table.row(
                &format!("wasm {} through the worker", kind.name),
                &format!("{together} at a time"),
                format!("{rate:.0}/s, p50 {}", time(p50)),
                format!("{:.2} × the engine alone", rate / floor),
            );
        }
        commands.get_or_insert(module);
    }
    pool.shutdown(Duration::ZERO).await;
    let module = commands.context("the first kind")?;
    for (total, batch) in [(200_000, 1), (1_000_000, 100)] {
        // What the function of a topic is handed: a longer event than the one before.
        let (event, counted) = records(batch);
        let alone = floor(&module, event.as_bytes(), counted.as_bytes())?;
        table.row(
            "wasm word-count, the engine alone",
            &format!("the same, an event of {batch} of a topic's records"),
            format!("{alone:.0}/s"),
            String::new(),
        );
        let case = Case {
            name: "wasm word-count",
            runtime: "wasm",
            file: "word-count.wasm",
            handler: "word-count",
            content: module.clone(),
            records: total,
            batch,
        };
        let rate = drain(&case).await?;
        let ratio = rate / batch as f64 / alone;
        table.row(
            &format!("topic to {}", case.name),
            &format!("{total} records, 8 partitions, batches of {batch}"),
            format!("{rate:.0} events/s"),
            format!("{ratio:.2} × the engine alone with such an event"),
        );
    }
    Ok(())
}

/// An example, built and put where packages are, under this name.
fn built(folder: &Path, name: &str, kind: &Kind) -> Result<Vec<u8>> {
    let Kind {
        example,
        target,
        file,
        ..
    } = kind;
    let into = folder.join("target");
    let manifest = tests::repository().join("functions").join(example);
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--target", target])
        .arg("--manifest-path")
        .arg(manifest.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&into)
        .status()?;
    ensure!(status.success(), "build functions/{example}");
    let module = into.join(target).join("release").join(file);
    let module = std::fs::read(module).context("read the built module")?;
    let code = folder.join("code");
    std::fs::create_dir_all(&code)?;
    std::fs::write(code.join(name).with_extension("wasm"), &module)?;
    Ok(module)
}

/// Instances in a second on all processors together.
fn floor(module: &[u8], event: &[u8], counted: &[u8]) -> Result<f64> {
    let bare = Bare::new(module).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let threads = std::thread::available_parallelism()?.get();
    let each = RUNS / threads;
    let event = Bytes::copy_from_slice(event);
    let run = |times: usize| -> Result<()> {
        for _ in 0..times {
            let output = bare
                .run(event.clone())
                .map_err(|error| anyhow::anyhow!("{error:#}"))?;
            ensure!(output.starts_with(counted), "{output:?}");
        }
        Ok(())
    };
    run(WARM)?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| run(each))).collect();
        let mut joined = threads.into_iter().map(|thread| thread.join());
        joined.try_for_each(|ran| ran.expect("no panic"))
    })?;
    Ok((each * threads) as f64 / begun.elapsed().as_secs_f64())
}

fn pool(folder: &Path) -> Result<Pool> {
    let spawner = Spawner::start(SpawnerConfig {
        mount_point: folder.join("sandboxes"),
        disk: folder.join("temporary"),
        spares: 2,
        spares_at_most: 2,
        early: 0,
    })?;
    let executable = std::env::var("TIDEMILL_TEST_BIN").context("TIDEMILL_TEST_BIN")?;
    let config = WasmConfig {
        executable: PathBuf::from(executable).canonicalize()?,
        arguments: vec!["wasm-worker".into()],
        artifacts: folder.join("artifacts"),
        scratch: folder.join("workers"),
        memory: 2 << 30,
    };
    // Nobody reads the log: it fills and drops, as a log may.
    let (sink, _) = log_queue(1 << 20);
    let clock = Arc::new(SystemClock::new());
    let isolation = Isolation::Sandboxed(spawner);
    let launcher = WasmLauncher::new(config, isolation, clock, Arc::new(sink))?;
    Ok(Pool::new(Arc::new(launcher), PoolConfig::default()))
}

fn spec(folder: &Path, name: &str) -> Arc<Spec> {
    Arc::new(Spec {
        account: "000000000000".to_owned(),
        function: name.to_owned(),
        version: "$LATEST".to_owned(),
        revision: "1".to_owned(),
        arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"),
        region: "us-east-1".to_owned(),
        runtime: instance::Runtime::Wasm,
        handler: name.to_owned(),
        code: folder.join("code"),
        image: None,
        opt: None,
        temporary_mib: 512,
        memory_mib: 128,
        timeout: Duration::from_secs(30),
        environment: BTreeMap::new(),
        log_group: format!("/aws/lambda/{name}"),
        log_format: LogFormat::Text,
        initialization: Initialization::OnDemand,
    })
}

async fn invoke(pool: &Pool, spec: &Arc<Spec>) -> Result<()> {
    let invocation = Invocation {
        request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        payload: Bytes::from_static(EVENT),
        arn: spec.arn.clone(),
        trace_id: None,
        client_context: None,
    };
    match pool.invoke(spec, invocation).await?.outcome {
        Outcome::Success(_) => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Invocations in a second, and how long half of them took at most.
async fn serve(pool: &Pool, spec: &Arc<Spec>, together: usize) -> Result<(f64, Duration)> {
    try_join_all((0..together).map(|_| invoke(pool, spec))).await?;
    let begun = Instant::now();
    let lanes = (0..together).map(async |_| {
        let mut times = Vec::new();
        for _ in 0..RUNS / together {
            let begun = Instant::now();
            invoke(pool, spec).await?;
            times.push(begun.elapsed());
        }
        Ok::<_, anyhow::Error>(times)
    });
    let mut times: Vec<Duration> = try_join_all(lanes).await?.into_iter().flatten().collect();
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort();
    Ok((rate, percentile(&times, 50)))
}
