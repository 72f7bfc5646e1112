//! Waiting for effects of other processes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Server;

/// How long an effect may take before a test gives it up as absent. Generous: it decides nothing
/// but how long a failure takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until `probe` has an answer.
///
/// # Errors
/// There is none within ninety seconds, or the probe itself fails.
pub async fn eventually<T>(
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            bail!("{what}: not within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every trigger has settled every event, and returns the triggers' status.
///
/// # Errors
/// They have not within ninety seconds.
pub async fn until_settled(server: &Server) -> Result<Vec<Value>> {
    eventually("every trigger has settled every event", async || {
        let status: Value = serde_json::from_str(&server.tidemill(&["status", "--json"])?)?;
        let triggers = status["triggers"]
            .as_array()
            .context("triggers in the status")?
            .clone();
        let settled = triggers
            .iter()
            .all(|trigger| trigger["lag"] == 0 && trigger["in_flight"] == 0);
        Ok(settled.then_some(triggers))
    })
    .await
}
