//! The example function that is compiled.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::repository;

/// The `bootstrap` of `functions/order-total`, built with the upstream runtime client.
///
/// # Errors
/// It does not compile.
pub fn order_total() -> Result<&'static [u8]> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(built) = BUILT.get() {
        return Ok(built);
    }
    if let Some(path) = std::env::var_os("TIDEMILL_TEST_BOOTSTRAP") {
        let built = std::fs::read(path).context("read TIDEMILL_TEST_BOOTSTRAP")?;
        return Ok(BUILT.get_or_init(|| built));
    }
    let output = Command::new("cargo")
        .args(["build", "--package", "order-total", "--message-format=json"])
        .current_dir(repository())
        .output()
        .context("run cargo")?;
    ensure!(
        output.status.success(),
        "build order-total: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let path = String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "bootstrap")
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .context("cargo names the executable")?;
    let built = std::fs::read(path)?;
    Ok(BUILT.get_or_init(|| built))
}
