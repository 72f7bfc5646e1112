//! Values of settings as text: read, written, and what holds where none is set.

use std::time::Duration;

use event_log::{Cleanup, Lifetime, Limit, TopicSettings};
use kafka_protocol::ResponseError;

use super::table::{Setting, Value};
use super::{Source, TopicDefaults};
use crate::error_code::Refusal;

impl Setting {
    pub(super) fn set(&self, settings: &mut TopicSettings, value: &str) -> Result<(), Refusal> {
        match self.value {
            Value::Cleanup => settings.cleanup = cleanup(value)?,
            Value::RetentionAge => {
                let age = self.limit(value)?;
                settings.retention_age = Some(match age {
                    None => Limit::Unlimited,
                    Some(millis) => Limit::AtMost(Duration::from_millis(millis)),
                });
            }
            Value::RetentionBytes => {
                let bytes = self.limit(value)?;
                settings.retention_bytes = Some(bytes.map_or(Limit::Unlimited, Limit::AtMost));
            }
            Value::TombstoneGrace => {
                let millis = self.number(value, i64::MAX)?;
                settings.tombstone_grace = Some(Duration::from_millis(millis));
            }
            Value::MaxBatchBytes => {
                let bytes = self.number(value, i64::from(i32::MAX))?;
                settings.max_batch_bytes = u32::try_from(bytes).ok();
            }
            Value::Always(holds) if holds == value => {}
            Value::Always(holds) => {
                return Err(invalid(format!("{} is always {holds}", self.name)));
            }
        }
        Ok(())
    }

    pub(super) fn reset(&self, settings: &mut TopicSettings) {
        let default = TopicSettings::DEFAULT;
        match self.value {
            Value::Cleanup => settings.cleanup = default.cleanup,
            Value::RetentionAge => settings.retention_age = default.retention_age,
            Value::RetentionBytes => settings.retention_bytes = default.retention_bytes,
            Value::TombstoneGrace => settings.tombstone_grace = default.tombstone_grace,
            Value::MaxBatchBytes => settings.max_batch_bytes = default.max_batch_bytes,
            Value::Always(_) => {}
        }
    }

    /// The topic's own value, if it has one.
    pub(super) fn own(&self, settings: &TopicSettings) -> Option<String> {
        match self.value {
            Value::Cleanup => {
                let is_set = settings.cleanup != Cleanup::default();
                is_set.then(|| cleanup_list(settings.cleanup).join(","))
            }
            Value::RetentionAge => settings.retention_age.map(|age| match age {
                Limit::Unlimited => "-1".to_owned(),
                Limit::AtMost(age) => age.as_millis().to_string(),
            }),
            Value::RetentionBytes => settings.retention_bytes.map(|bytes| match bytes {
                Limit::Unlimited => "-1".to_owned(),
                Limit::AtMost(bytes) => bytes.to_string(),
            }),
            Value::TombstoneGrace => settings
                .tombstone_grace
                .map(|grace| grace.as_millis().to_string()),
            Value::MaxBatchBytes => settings.max_batch_bytes.map(|bytes| bytes.to_string()),
            Value::Always(_) => None,
        }
    }

    pub(super) fn fallback(
        &self,
        lifetime: Lifetime,
        defaults: &TopicDefaults,
    ) -> (String, Source) {
        match self.value {
            Value::Cleanup => ("delete".to_owned(), Source::Default),
            Value::RetentionAge => match (lifetime, defaults.retention_age) {
                (Lifetime::LongLived, _) => ("-1".to_owned(), Source::Default),
                (Lifetime::Events, None) => ("-1".to_owned(), Source::Broker),
                (Lifetime::Events, Some(age)) => (age.as_millis().to_string(), Source::Broker),
            },
            Value::RetentionBytes => ("-1".to_owned(), Source::Default),
            Value::TombstoneGrace => {
                let grace = defaults.tombstone_grace.as_millis();
                (grace.to_string(), Source::Default)
            }
            Value::MaxBatchBytes => (defaults.max_batch_bytes.to_string(), Source::Default),
            Value::Always(holds) => (holds.to_owned(), Source::Default),
        }
    }

    /// The items of a setting that is a list.
    pub(super) fn list(&self, settings: &TopicSettings) -> Result<Vec<&'static str>, Refusal> {
        match self.value {
            Value::Cleanup => Ok(cleanup_list(settings.cleanup).to_vec()),
            Value::RetentionAge
            | Value::RetentionBytes
            | Value::TombstoneGrace
            | Value::MaxBatchBytes
            | Value::Always(_) => Err(invalid(format!("{} is not a list", self.name))),
        }
    }

    /// A number, where -1 stands for no limit.
    fn limit(&self, value: &str) -> Result<Option<u64>, Refusal> {
        if value == "-1" {
            return Ok(None);
        }
        self.number(value, i64::MAX).map(Some)
    }

    fn number(&self, value: &str, most: i64) -> Result<u64, Refusal> {
        let number = value.parse().ok();
        let number = number.filter(|number| (0..=most).contains(number));
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| invalid(format!("{} takes a number from 0 to {most}", self.name)))
    }
}

fn cleanup(value: &str) -> Result<Cleanup, Refusal> {
    let mut items: Vec<_> = value.split(',').map(str::trim).collect();
    items.sort_unstable();
    items.dedup();
    match items.as_slice() {
        ["delete"] => Ok(Cleanup::Delete),
        ["compact"] => Ok(Cleanup::Compact),
        ["compact", "delete"] => Ok(Cleanup::CompactAndDelete),
        _ => Err(invalid(
            "cleanup.policy takes delete, compact or compact,delete".to_owned(),
        )),
    }
}

fn cleanup_list(cleanup: Cleanup) -> &'static [&'static str] {
    match cleanup {
        Cleanup::Delete => &["delete"],
        Cleanup::Compact => &["compact"],
        Cleanup::CompactAndDelete => &["compact", "delete"],
    }
}

pub(super) fn invalid(reason: String) -> Refusal {
    Refusal::new(ResponseError::InvalidConfig, reason)
}
