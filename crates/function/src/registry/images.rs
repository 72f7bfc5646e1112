//! Functions of the registry whose code is a container image.

use std::collections::BTreeSet;
use std::sync::Arc;

use container_image::{Digest, Image, Source};
use uuid::Uuid;

use super::{Error, Known, Registry, Writers};
use crate::{Arriving, Function, FunctionName, ImageCode, ImageFault};

impl Registry {
    /// Images that functions wait for.
    #[must_use]
    pub fn awaited_images(&self) -> Vec<(FunctionName, Image)> {
        let known = self.known.read();
        let functions = known.functions.values().map(|kept| &kept.value);
        let awaited = |function: &Arc<Function>| {
            let image = function.image.as_ref()?.awaited()?.clone();
            Some((function.name.clone(), image))
        };
        functions.filter_map(awaited).collect()
    }

    /// Fetches what the store lacks of an image, stores it, and unpacks it on this node. Content is
    /// durable on return.
    ///
    /// # Errors
    /// [`Error::Image`], or a failure of store or cache.
    pub async fn bring_in(&self, image: &Image, from: &Source) -> Result<(), Error> {
        self.images.add(image, from).await
    }

    /// Has a function run the image that it waited for, or say why it does not. The function gets a new
    /// revision. Nothing happens if it waits for that image no more. Durable on return.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Store`].
    pub async fn image_arrived(
        &self,
        name: &FunctionName,
        image: &Image,
        outcome: Result<(), ImageFault>,
    ) -> Result<(), Error> {
        let _writer = self.writer.lock().await;
        let Some(before) = self.known.read().functions.get(name).cloned() else {
            return Ok(());
        };
        let mut function = before.value.as_ref().clone();
        let code = match &mut function.image {
            Some(code) if code.awaited() == Some(image) => code,
            Some(_) | None => return Ok(()),
        };
        match outcome {
            Ok(()) => {
                code.running = Some(image.clone());
                code.arriving = None;
            }
            Err(fault) => {
                let image = image.clone();
                code.arriving = Some(Arriving::Failed { image, fault });
            }
        }
        function.revision = Uuid::new_v4();
        self.write_function(&before, function).await?;
        self.drop_unused_image(&before.value).await;
        Ok(())
    }

    /// Removes layers from the store that only `before` has named. A failure leaves garbage and nothing
    /// worse, so it is only reported.
    pub(super) async fn drop_unused_image(&self, before: &Function) {
        let images = before.image.iter().flat_map(ImageCode::images);
        let named: BTreeSet<_> = images.flat_map(layers).collect();
        if self.writers == Writers::Several || named.is_empty() {
            return;
        }
        let used: BTreeSet<_> = self.known.read().images().flat_map(layers).collect();
        for digest in named.difference(&used) {
            if let Err(error) = self.images.remove(digest).await {
                tracing::warn!(%digest, %error, "an unused layer stays");
            }
        }
    }
}

fn layers(image: &Image) -> impl Iterator<Item = Digest> {
    image.layers.iter().map(|layer| layer.digest)
}

impl Known {
    /// Every image that a function runs or waits for.
    pub(super) fn images(&self) -> impl Iterator<Item = &Image> {
        let functions = self.functions.values().chain(self.versions.values());
        let functions = functions.map(|kept| &kept.value);
        let codes = functions.filter_map(|function| function.image.as_ref());
        codes.flat_map(ImageCode::images)
    }
}
