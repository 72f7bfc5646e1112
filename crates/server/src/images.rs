//! Brings in the container images that functions wait for.
//!
//! A function that was created or updated waits in the registry, so that a restart goes on where a crash
//! left off. Where nodes share the work, the node whose share holds the function brings its image in, and
//! the others unpack it from the store when they run it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use container_image::{Digest, Image, Source};
use event::SourceId;
use event_log::{Share, SharedLog};
use function::{Error, FunctionName, ImageFault, ImageFaultKind, Registry};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Images that are brought in at once: each writes gigabytes to one disk.
const AT_ONCE: usize = 2;

/// How often a registry that does not answer is asked.
const ATTEMPTS: u32 = 3;

/// How long what does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Brings images in. See the module.
pub(crate) struct ImageFetcher {
    pub(crate) registry: Arc<Registry>,
    pub(crate) source: Arc<Source>,
    pub(crate) log: SharedLog,
}

/// A function and the image that it waits for.
type Awaited = (FunctionName, Digest);

impl ImageFetcher {
    /// Works until it is stopped. What is cut off then is begun anew at the next start.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.registry.changes();
        let mut shares = self.log.share();
        let mut under_way: BTreeSet<Awaited> = BTreeSet::new();
        let mut tasks = JoinSet::new();
        loop {
            changes.mark_unchanged();
            let share = *shares.borrow_and_update();
            for (name, image) in self.registry.awaited_images() {
                let awaited = (name.clone(), image.digest);
                if tasks.len() < AT_ONCE && holds(share, &name) && under_way.insert(awaited) {
                    let (registry, source) = (self.registry.clone(), self.source.clone());
                    tasks.spawn(bring_in(registry, source, name, image));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = changes.changed() => {}
                Ok(()) = shares.changed() => {}
                Some(ended) = tasks.join_next() => match ended {
                    Ok(awaited) => drop(under_way.remove(&awaited)),
                    Err(error) => {
                        tracing::error!(%error, "bringing an image in panicked");
                        // It is not known which; no other may be kept from a second attempt.
                        under_way.clear();
                        tasks.abort_all();
                    }
                },
                else => return stop.cancelled().await,
            }
        }
    }
}

fn holds(share: Share, function: &FunctionName) -> bool {
    share.holds_source(&SourceId::new(format!("image/{function}")))
}

async fn bring_in(
    registry: Arc<Registry>,
    source: Arc<Source>,
    function: FunctionName,
    image: Image,
) -> Awaited {
    let outcome = fetch(&registry, &source, &image).await;
    match &outcome {
        Ok(()) => tracing::info!(%function, image = image.resolved_uri, "an image has arrived"),
        Err(fault) => {
            let (image, reason) = (&image.resolved_uri, &fault.reason);
            tracing::warn!(%function, image, reason, "an image was given up");
        }
    }
    let written = registry.image_arrived(&function, &image, outcome).await;
    match written {
        // Another writer was faster: whether the function still waits is looked at anew.
        Ok(()) | Err(Error::Conflict { .. }) => {}
        Err(error) => {
            tracing::warn!(%function, %error, "that an image has arrived could not be written down");
            tokio::time::sleep_until(Instant::now() + PAUSE).await;
        }
    }
    (function, image.digest)
}

async fn fetch(registry: &Registry, source: &Source, image: &Image) -> Result<(), ImageFault> {
    let mut attempt = 1;
    loop {
        let fault = match registry.bring_in(image, source).await {
            Ok(()) => return Ok(()),
            Err(Error::Image(error)) => {
                tracing::debug!(%error, cause = ?std::error::Error::source(&error), "no image");
                ImageFault::from(&error)
            }
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "no image");
                ImageFault {
                    kind: ImageFaultKind::Internal,
                    reason: error.to_string(),
                }
            }
        };
        if fault.kind != ImageFaultKind::Internal || attempt == ATTEMPTS {
            return Err(fault);
        }
        attempt += 1;
        tokio::time::sleep_until(Instant::now() + PAUSE).await;
    }
}
