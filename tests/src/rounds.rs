//! How often the rigs that kill servers do so.

use std::env;

use anyhow::{Context, Result};

/// The rounds that `TIDEMILL_CRASH_ROUNDS` asks for, else `usual`.
///
/// # Errors
/// It asks for something that is no number.
pub fn crash_rounds(usual: usize) -> Result<usize> {
    match env::var("TIDEMILL_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().context("TIDEMILL_CRASH_ROUNDS"),
        Err(_) => Ok(usual),
    }
}
