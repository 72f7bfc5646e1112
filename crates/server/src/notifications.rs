//! A bucket's notification configuration as triggers of the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bucket::{BucketName, FunctionNotification, NotificationError, Notifications};
use clock::SharedClock;
use event_log::SharedLog;
use function::{
    Backoff, BatchPolicy, FunctionName, Ordering, QualifiedName, Registry, RetryPolicy,
    StartingPosition, Trigger, TriggerId, TriggerSource,
};
use uuid::Uuid;

use crate::connectors::Definitions;

/// Turns configurations into triggers and back.
pub(crate) struct RegistryNotifications {
    pub(crate) registry: Arc<Registry>,
    pub(crate) connectors: Arc<Definitions>,
    pub(crate) log: SharedLog,
    pub(crate) clock: SharedClock,
    pub(crate) account: String,
    pub(crate) region: String,
}

#[async_trait]
impl Notifications for RegistryNotifications {
    async fn replace(
        &self,
        bucket: &BucketName,
        functions: Vec<FunctionNotification>,
    ) -> Result<(), NotificationError> {
        let mut wanted = Vec::with_capacity(functions.len());
        for notification in functions {
            wanted.push(self.trigger(bucket, notification)?);
        }
        self.registry
            .replace_bucket_triggers(bucket.as_str(), wanted)
            .await
            .map_err(unavailable)
    }

    async fn get(
        &self,
        bucket: &BucketName,
    ) -> Result<Vec<FunctionNotification>, NotificationError> {
        let triggers = self.registry.triggers();
        Ok(triggers
            .iter()
            .filter_map(|trigger| self.notification(bucket, trigger))
            .collect())
    }

    fn is_watched(&self, bucket: &BucketName) -> bool {
        self.connectors.watch_bucket(bucket.as_str())
    }

    async fn bucket_deleted(&self, bucket: &BucketName) -> Result<(), NotificationError> {
        self.registry
            .replace_bucket_triggers(bucket.as_str(), Vec::new())
            .await
            .map_err(unavailable)
    }
}

impl RegistryNotifications {
    fn trigger(
        &self,
        bucket: &BucketName,
        notification: FunctionNotification,
    ) -> Result<Trigger, NotificationError> {
        let unknown = || NotificationError::UnknownFunction {
            arn: notification.function_arn.clone(),
        };
        let target = self
            .own_function(&notification.function_arn)
            .ok_or_else(unknown)?;
        let (attributes, _) = self.registry.attributes(&target).ok_or_else(unknown)?;
        let retries = attributes.asynchronous;
        let mut trigger = Trigger {
            id: TriggerId::random(),
            function: target.name,
            qualifier: target.qualifier,
            source: TriggerSource::Bucket {
                bucket: bucket.as_str().to_owned(),
                configuration_id: notification.id,
                events: notification.events,
                prefix: notification.prefix,
                suffix: notification.suffix,
            },
            filters: Vec::new(),
            // One event for one invocation, retried like any asynchronous invocation: so S3 does.
            batch: BatchPolicy {
                batch_size: 1,
                maximum_batching_window_ms: 0,
            },
            retry: RetryPolicy {
                maximum_retry_attempts: Some(retries.maximum_retry_attempts),
                maximum_record_age_seconds: Some(retries.maximum_event_age_seconds),
                bisect_batch_on_function_error: false,
                backoff: Backoff::Asynchronous,
                on_failure: retries.on_failure,
            },
            ordering: Ordering::None,
            report_batch_item_failures: false,
            enabled: true,
            problem: None,
            tags: BTreeMap::new(),
            starting_position: StartingPosition::TrimHorizon,
            last_modified: self.clock.now(),
            revision: Uuid::new_v4(),
        };
        trigger.starting_position = self.ends_of(&trigger);
        Ok(trigger)
    }

    /// Events that the bucket commits after this are the trigger's: none between the configuration
    /// and its first dispatch is missed.
    fn ends_of(&self, trigger: &Trigger) -> StartingPosition {
        let ends = self
            .log
            .topic(&trigger.topic())
            .iter()
            .flat_map(event_log::Topic::partitions)
            .filter_map(|partition| {
                let bounds = self.log.bounds(&partition).ok()?;
                Some((partition.partition.index(), bounds.end))
            })
            .collect();
        StartingPosition::Latest { ends }
    }

    /// What `arn` names, when it is one of this account's functions, versions or aliases.
    fn own_function(&self, arn: &str) -> Option<QualifiedName> {
        let own = format!("arn:aws:lambda:{}:{}:function:", self.region, self.account);
        let (name, qualifier) = match arn.strip_prefix(&own)?.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier.parse().ok()?)),
            None => (arn.strip_prefix(&own)?, None),
        };
        Some(QualifiedName {
            name: FunctionName::new(name).ok()?,
            qualifier,
        })
    }

    fn notification(&self, bucket: &BucketName, trigger: &Trigger) -> Option<FunctionNotification> {
        let TriggerSource::Bucket {
            bucket: of,
            configuration_id,
            events,
            prefix,
            suffix,
        } = &trigger.source
        else {
            return None;
        };
        (of == bucket.as_str()).then(|| FunctionNotification {
            id: configuration_id.clone(),
            function_arn: format!(
                "arn:aws:lambda:{}:{}:function:{}",
                self.region,
                self.account,
                trigger.target()
            ),
            events: events.clone(),
            prefix: prefix.clone(),
            suffix: suffix.clone(),
        })
    }
}

fn unavailable(source: function::Error) -> NotificationError {
    NotificationError::Unavailable {
        source: Box::new(source),
    }
}
