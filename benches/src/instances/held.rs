//! What functions take that are warm and wait: many at once, each with an instance of its own.
//!
//! Counted are the shares of memory (PSS) of all processes that this one has started, before and after, so
//! that the spawners' own and the sandboxes that are kept ready do not count. The kernel's share (namespaces,
//! control groups, tables of pages) is in what the machine has less of; that figure has the machine's noise.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use instance::{Isolation, Pool};

use crate::sandboxes::{LANGUAGES, Numbered, invoke, pool, with_waiting};
use crate::table::Table;

const HELD: u64 = 64;
const PAUSE: Duration = Duration::from_millis(50);
/// Until what is kept ready is ready again.
const SETTLED: Duration = Duration::from_secs(2);
const KIB_IN_GIB: u64 = 1 << 20;

/// Holds a compiled function, then those of each interpreter, beside what is held already.
pub(super) async fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pool = pool(
        folder.path(),
        Isolation::Sandboxed(with_waiting(folder.path(), 4)?),
    )?;
    let code = folder.path().join("code");
    fs::create_dir(&code)?;
    let noop = std::env::current_exe()?.with_file_name("noop-bootstrap");
    fs::copy(&noop, code.join("bootstrap")).with_context(|| format!("copy {}", noop.display()))?;
    let compiled = Numbered::of("provided.al2023", "bootstrap", code)?;
    hold(table, &pool, "compiled", compiled).await?;
    for language in LANGUAGES {
        if !Path::new(language.nothing[0]).exists() {
            continue;
        }
        let code = folder.path().join(language.runtime);
        fs::create_dir(&code)?;
        fs::write(code.join(language.file), language.text)?;
        let functions = Numbered::of(language.runtime, language.handler, code)?;
        hold(table, &pool, language.name, functions).await?;
    }
    pool.shutdown(Duration::ZERO).await;
    Ok(())
}

async fn hold(table: &mut Table, pool: &Pool, name: &str, mut functions: Numbered) -> Result<()> {
    // The first has interpreters wait, which are no function's yet.
    invoke(pool, &functions.spec()).await?;
    let before = Memory::now().await?;
    for _ in 0..HELD {
        invoke(pool, &functions.spec()).await?;
        tokio::time::sleep_until(tokio::time::Instant::now() + PAUSE).await;
    }
    let after = Memory::now().await?;
    let share = after.shares.saturating_sub(before.shares).max(1) / HELD;
    let less = before.available.saturating_sub(after.available).max(1) / HELD;
    table.row(
        &format!("idle warm instance, {name}"),
        &format!("PSS of its processes, {HELD} functions held at once"),
        each(share),
        format!("{} of what the machine has available", each(less)),
    );
    Ok(())
}

fn each(kib: u64) -> String {
    let mib = kib as f64 / 1024.0;
    format!("{mib:.2} MiB, {} functions/GiB", KIB_IN_GIB / kib.max(1))
}

/// In KiB.
struct Memory {
    /// Of all processes below this one.
    shares: u64,
    available: u64,
}

impl Memory {
    async fn now() -> Result<Self> {
        tokio::time::sleep_until(tokio::time::Instant::now() + SETTLED).await;
        let of_machine = fs::read_to_string("/proc/meminfo")?;
        Ok(Self {
            shares: descendants()?.into_iter().filter_map(share).sum(),
            available: field(&of_machine, "MemAvailable:").context("the memory available")?,
        })
    }
}

/// Every process that this one has started, and those that they have.
fn descendants() -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(process) = entry?.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        // One that ends meanwhile is nobody's.
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut below = children.remove(&std::process::id()).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = below.get(next).copied() {
        below.extend(children.remove(&process).unwrap_or_default());
        next += 1;
    }
    Ok(below)
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    field(&status, "PPid:")?.try_into().ok()
}

/// The share of memory of one process that has any.
fn share(process: u32) -> Option<u64> {
    field(
        &fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?,
        "Pss:",
    )
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}
