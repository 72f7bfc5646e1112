//! What the disk itself takes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Times of single durable writes: 4 KiB over blocks that were written before, then `fdatasync`.
/// Nothing that acknowledges after durability can be faster than one of these.
pub(crate) fn durable_writes(dir: &Path, count: usize) -> Result<Vec<Duration>> {
    let file = File::create(dir.join("floor"))?;
    let block = [0x5a; 4096];
    for at in 0..256 {
        file.write_all_at(&block, at * 4096)?;
    }
    file.sync_all()?;
    let mut times = Vec::with_capacity(count);
    for at in 0..count as u64 {
        let begun = Instant::now();
        file.write_all_at(&block, (at % 256) * 4096)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times)
}
