//! Triggers of the registry.

use std::sync::Arc;

use uuid::Uuid;

use super::document::{Document as _, Written};
use super::{Error, Kept, Registry};
use crate::{FunctionName, QualifiedName, Trigger, TriggerId, TriggerSource};

impl Registry {
    /// The trigger of that id, if it exists.
    #[must_use]
    pub fn trigger(&self, id: TriggerId) -> Option<Arc<Trigger>> {
        let known = self.known.read();
        known.triggers.get(&id).map(|kept| Arc::clone(&kept.value))
    }

    /// Every trigger, by id.
    #[must_use]
    pub fn triggers(&self) -> Vec<Arc<Trigger>> {
        let known = self.known.read();
        let triggers = known.triggers.values();
        triggers.map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// Adds a trigger; durable on return. Its revision and time are set here.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`], [`Error::UnknownQualifier`], [`Error::TriggerExists`],
    /// [`Error::Store`].
    pub async fn create_trigger(&self, trigger: Trigger) -> Result<Arc<Trigger>, Error> {
        let _writer = self.writer.lock().await;
        self.add_trigger(trigger).await
    }

    /// Changes a trigger; its id stays. Durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownTrigger`], [`Error::UnknownFunction`] or [`Error::UnknownQualifier`] when the
    /// change names another function that does not exist, [`Error::Conflict`], [`Error::Store`].
    pub async fn update_trigger(
        &self,
        id: TriggerId,
        change: impl FnOnce(&mut Trigger) + Send,
    ) -> Result<Arc<Trigger>, Error> {
        let _writer = self.writer.lock().await;
        let before = self.expect_trigger(id)?;
        let mut trigger = before.value.as_ref().clone();
        change(&mut trigger);
        if trigger.target() != before.value.target() {
            self.expect_target(&trigger.target())?;
        }
        self.write_trigger(&before, trigger).await
    }

    /// Removes a trigger, durably, and returns what it was. Its checkpoints are the log's, to be
    /// forgotten by whoever runs triggers.
    ///
    /// # Errors
    /// [`Error::UnknownTrigger`], [`Error::Store`].
    pub async fn delete_trigger(&self, id: TriggerId) -> Result<Arc<Trigger>, Error> {
        let _writer = self.writer.lock().await;
        let before = self.expect_trigger(id)?;
        self.remove_trigger(&before).await?;
        Ok(before.value)
    }

    /// Makes `wanted` the triggers of a bucket. One that sends the same events to the same function
    /// keeps its id, and with it its checkpoint, whatever its configuration is called now; the others
    /// are removed and added. `wanted` must read this bucket. Each trigger is durable by itself, not all at once: repeat after an error.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`] or [`Error::UnknownQualifier`], before anything is changed; [`Error::Conflict`],
    /// [`Error::Store`].
    pub async fn replace_bucket_triggers(
        &self,
        bucket: &str,
        wanted: Vec<Trigger>,
    ) -> Result<(), Error> {
        let _writer = self.writer.lock().await;
        for trigger in &wanted {
            self.expect_target(&trigger.target())?;
        }
        let mut existing: Vec<_> = {
            let known = self.known.read();
            let of_bucket = |kept: &&Kept<Trigger>| matches!(&kept.value.source, TriggerSource::Bucket { bucket: of, .. } if of == bucket);
            known.triggers.values().filter(of_bucket).cloned().collect()
        };
        for trigger in &wanted {
            let same = |kept: &Kept<Trigger>| {
                kept.value.target() == trigger.target()
                    && kept.value.source.wants_the_same(&trigger.source)
            };
            let Some(place) = existing.iter().position(same) else {
                self.add_trigger(trigger.clone()).await?;
                continue;
            };
            let before = existing.swap_remove(place);
            if before.value.source != trigger.source {
                let mut renamed = before.value.as_ref().clone();
                renamed.source = trigger.source.clone();
                self.write_trigger(&before, renamed).await?;
            }
        }
        for unwanted in existing {
            self.remove_trigger(&unwanted).await?;
        }
        Ok(())
    }

    /// Applies `change` to every trigger of a function and writes those that it changed. The caller
    /// is the writer.
    pub(super) async fn change_triggers_of(
        &self,
        name: &FunctionName,
        change: impl Fn(&mut Trigger) + Send,
    ) -> Result<(), Error> {
        let triggers: Vec<_> = {
            let known = self.known.read();
            let of_function = |kept: &&Kept<Trigger>| kept.value.function == *name;
            known
                .triggers
                .values()
                .filter(of_function)
                .cloned()
                .collect()
        };
        for before in triggers {
            let mut trigger = before.value.as_ref().clone();
            change(&mut trigger);
            if trigger != *before.value {
                self.write_trigger(&before, trigger).await?;
            }
        }
        Ok(())
    }

    async fn add_trigger(&self, mut trigger: Trigger) -> Result<Arc<Trigger>, Error> {
        self.expect_target(&trigger.target())?;
        let exists = Error::TriggerExists {
            trigger: trigger.id,
        };
        trigger.revision = Uuid::new_v4();
        trigger.last_modified = self.clock.now();
        match self.documents.create(trigger).await? {
            Written::Done(kept) => Ok(self.remember_trigger(kept)),
            Written::Conflict => Err(exists),
        }
    }

    async fn remove_trigger(&self, before: &Kept<Trigger>) -> Result<(), Error> {
        self.documents.delete(before.value.as_ref()).await?;
        self.known.write().triggers.remove(&before.value.id);
        self.changed();
        Ok(())
    }

    fn expect_trigger(&self, id: TriggerId) -> Result<Kept<Trigger>, Error> {
        let kept = self.known.read().triggers.get(&id).cloned();
        kept.ok_or(Error::UnknownTrigger { trigger: id })
    }

    fn expect_target(&self, target: &QualifiedName) -> Result<(), Error> {
        self.expect_function(&target.name, None)?;
        match self.attributes(target) {
            Some(_) => Ok(()),
            None => Err(Error::UnknownQualifier {
                target: target.clone(),
            }),
        }
    }

    async fn write_trigger(
        &self,
        before: &Kept<Trigger>,
        mut trigger: Trigger,
    ) -> Result<Arc<Trigger>, Error> {
        trigger.id = before.value.id;
        trigger.revision = Uuid::new_v4();
        trigger.last_modified = self.clock.now();
        let path = trigger.path();
        match self.documents.update(before, trigger).await? {
            Written::Done(kept) => Ok(self.remember_trigger(kept)),
            Written::Conflict => {
                match self.documents.load(&path).await? {
                    Some(kept) => drop(self.remember_trigger(kept)),
                    None => {
                        self.known.write().triggers.remove(&before.value.id);
                        self.changed();
                    }
                }
                Err(Error::Conflict {
                    document: path.to_string(),
                })
            }
        }
    }

    fn remember_trigger(&self, kept: Kept<Trigger>) -> Arc<Trigger> {
        let trigger = Arc::clone(&kept.value);
        self.known.write().triggers.insert(trigger.id, kept);
        self.changed();
        trigger
    }
}
