//! How long a rig goes on.

use anyhow::{Context, Result};

/// The rounds that `TIDEMILL_CRASH_ROUNDS` asks for, else `usual`.
pub(crate) fn rounds(usual: u64) -> Result<u64> {
    match std::env::var("TIDEMILL_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().context("TIDEMILL_CRASH_ROUNDS"),
        Err(_) => Ok(usual),
    }
}

/// `wanted` items of `all`, evenly spread, the first and the last among them; all when there are no
/// more.
pub(crate) fn spread<T: Clone>(all: &[T], wanted: u64) -> Vec<T> {
    let (len, wanted) = (all.len() as u64, wanted.max(2));
    if len <= wanted {
        return all.to_vec();
    }
    (0..wanted)
        .map(|index| (index * (len - 1) / (wanted - 1)) as usize)
        .map(|index| all[index].clone())
        .collect()
}

/// What no failure in that many rounds says about the next one, at 95 % confidence.
pub(crate) fn bound(rounds: u64) -> String {
    format!(
        "0 failures in {rounds}: below {:.1e} for each at 95 % confidence",
        3.0 / rounds.max(1) as f64
    )
}
