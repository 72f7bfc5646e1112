//! Parts that are started, watched and stopped together.

use anyhow::anyhow;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Parts that stop together.
pub(super) struct Stage {
    pub(super) stop: CancellationToken,
    parts: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            parts: JoinSet::new(),
        }
    }

    /// Starts a part.
    pub(super) fn spawn<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let part = part(self.stop.clone());
        self.parts.spawn(async move { (name, part.await) });
    }

    /// Waits until a part ends, and says which and why.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self.parts.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow!("the part {name} ended by itself"),
            Some(Ok((name, Err(error)))) => error.context(format!("the part {name} failed")),
            Some(Err(error)) => anyhow::Error::new(error).context("a part panicked"),
            None => std::future::pending().await,
        }
    }

    /// Stops all parts and waits until they have ended.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.parts.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => tracing::error!(part = name, "{error:#}"),
                Err(error) => tracing::error!(%error, "a part panicked"),
            }
        }
    }
}
