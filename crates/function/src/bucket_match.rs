//! Which events of a bucket a notification configuration wants.

use crate::TriggerSource;

/// The condition of one notification configuration: event names, prefix, suffix. All must hold.
#[derive(Clone, Copy, Debug)]
pub struct BucketMatch<'a> {
    events: &'a [String],
    prefix: Option<&'a str>,
    suffix: Option<&'a str>,
}

impl<'a> BucketMatch<'a> {
    /// The condition of a trigger's source; `None` when it reads no bucket.
    #[must_use]
    pub fn of(source: &'a TriggerSource) -> Option<Self> {
        match source {
            TriggerSource::Bucket {
                events,
                prefix,
                suffix,
                ..
            } => Some(Self {
                events,
                prefix: prefix.as_deref(),
                suffix: suffix.as_deref(),
            }),
            TriggerSource::Topic { .. } | TriggerSource::TableStream { .. } => None,
        }
    }

    /// Whether an event called `event_name` (`ObjectCreated:Put`, with or without `s3:`) on `key`
    /// (decoded, as the object is named) is wanted.
    #[must_use]
    pub fn matches(&self, event_name: &str, key: &str) -> bool {
        let event_name = event_name.strip_prefix("s3:").unwrap_or(event_name);
        let wanted = self.events.iter().any(|wanted| {
            let wanted = wanted.strip_prefix("s3:").unwrap_or(wanted);
            match wanted.strip_suffix('*') {
                Some(family) => event_name.starts_with(family),
                None => event_name == wanted,
            }
        });
        wanted
            && self.prefix.is_none_or(|prefix| key.starts_with(prefix))
            && self.suffix.is_none_or(|suffix| key.ends_with(suffix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(events: &[&str], prefix: Option<&str>, suffix: Option<&str>) -> TriggerSource {
        TriggerSource::Bucket {
            bucket: "photos".to_owned(),
            configuration_id: "c".to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            prefix: prefix.map(str::to_owned),
            suffix: suffix.map(str::to_owned),
        }
    }

    #[test]
    fn a_star_stands_for_the_whole_family_and_a_name_for_itself() {
        let family = source(&["s3:ObjectCreated:*"], None, None);
        let family = BucketMatch::of(&family).unwrap();
        assert!(family.matches("ObjectCreated:Put", "a"));
        assert!(family.matches("s3:ObjectCreated:CompleteMultipartUpload", "a"));
        assert!(!family.matches("ObjectRemoved:Delete", "a"));
        let one = source(&["s3:ObjectCreated:Put"], None, None);
        let one = BucketMatch::of(&one).unwrap();
        assert!(one.matches("ObjectCreated:Put", "a"));
        assert!(!one.matches("ObjectCreated:Copy", "a"));
    }

    #[test]
    fn prefix_and_suffix_must_both_hold() {
        let both = source(&["s3:ObjectCreated:*"], Some("in/"), Some(".csv"));
        let both = BucketMatch::of(&both).unwrap();
        assert!(both.matches("ObjectCreated:Put", "in/a b.csv"));
        assert!(!both.matches("ObjectCreated:Put", "in/a.txt"));
        assert!(!both.matches("ObjectCreated:Put", "out/a.csv"));
    }
}
