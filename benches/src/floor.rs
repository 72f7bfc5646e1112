//! What the disk itself takes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::FallocateFlags;

const BLOCK: [u8; 4096] = [0x5a; 4096];

/// Times of single durable writes one after the other into blocks that were set aside but never
/// written: what an append costs, the file system's own bookkeeping included. Sorted.
pub(crate) fn durable_appends(dir: &Path, count: usize) -> Result<Vec<Duration>> {
    let file = File::create(dir.join("appended"))?;
    let len = count as u64 * 4096;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len).context("set blocks aside")?;
    file.sync_all()?;
    timed(&file, count, |at| at * 4096)
}

/// Times of single durable writes: 4 KiB over blocks that were written before, then `fdatasync`.
/// Nothing that acknowledges after durability can be faster than one of these. Sorted.
pub(crate) fn durable_writes(dir: &Path, count: usize) -> Result<Vec<Duration>> {
    let file = File::create(dir.join("floor"))?;
    for at in 0..256 {
        file.write_all_at(&BLOCK, at * 4096)?;
    }
    file.sync_all()?;
    timed(&file, count, |at| (at % 256) * 4096)
}

fn timed(file: &File, count: usize, position: impl Fn(u64) -> u64) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(count);
    for at in 0..count as u64 {
        let begun = Instant::now();
        file.write_all_at(&BLOCK, position(at))?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times)
}
