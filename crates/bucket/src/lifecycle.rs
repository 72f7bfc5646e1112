//! When objects and uploads are to go by themselves. Pure: rules and an object in, a moment out.

use std::num::NonZeroU32;

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DeleteMarker, Object, Tags, UploadInfo, Version, VersionId};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A bucket's lifecycle rules, and since when they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The rules, in the order they were given.
    pub rules: Vec<LifecycleRule>,
    /// When they were given.
    pub since: Timestamp,
}

/// What goes, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LifecycleRule {
    /// Its name, unique within the bucket.
    pub id: String,
    /// Whether it holds.
    pub status: RuleStatus,
    /// What it is about.
    pub filter: RuleFilter,
    /// When objects go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    /// When versions go that are not the newest any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent: Option<NoncurrentExpiration>,
    /// How many days after their beginning uploads in progress are aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_uploads_after_days: Option<NonZeroU32>,
}

/// Whether a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleStatus {
    /// It does.
    Enabled,
    /// It is kept for later.
    Disabled,
}

/// When versions go that are not the newest of their key any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NoncurrentExpiration {
    /// So many days after they were superseded, at the midnight (UTC) that follows.
    pub days: NonZeroU32,
    /// How many of a key stay all the same, the newest of those that are not its newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<NonZeroU32>,
}

/// When objects go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expiration {
    /// So many days after they were written, at the midnight (UTC) that follows.
    Days(NonZeroU32),
    /// At this moment, a midnight (UTC). What is written later goes at the next midnight.
    Date(Timestamp),
    /// Objects never. Delete markers that hide nothing any more go at the midnight (UTC) after they
    /// were made, or as soon as that is so.
    ExpiredMarkers,
}

/// Which objects a rule is about: those for which all of this holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleFilter {
    /// How its writer put it.
    pub form: FilterForm,
    /// Their keys begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// They have these tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// They have more bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// They have fewer bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
}

/// The ways in which S3 has filters written. They mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterForm {
    /// A prefix of the rule itself, as before 2016, or nothing.
    Rule,
    /// One condition, or none.
    Filter,
    /// Conditions within `And`.
    And,
}

/// When something goes, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry<'a> {
    /// When: from then on it may go at any moment.
    pub at: Timestamp,
    /// The rule's id.
    pub rule: &'a str,
}

impl Lifecycle {
    /// When an object goes: by the rule that comes first. `None` when none is about it.
    #[must_use]
    pub fn expiry(&self, object: &Object) -> Option<Expiry<'_>> {
        let rules = self.enabled().filter(|rule| rule.filter.holds(object));
        let expiries = rules.filter_map(|rule| {
            let at = rule.expiration?.of(object.last_modified(), self.since)?;
            Some(Expiry { at, rule: &rule.id })
        });
        expiries.min_by_key(|expiry| expiry.at)
    }

    /// When the versions of a key go that are not an object in force: those that have been superseded,
    /// and a delete marker with nothing behind it.
    pub(crate) fn version_expiries(
        &self,
        newest_first: impl IntoIterator<Item = Version>,
    ) -> Vec<(VersionId, Timestamp)> {
        let mut expiries = Vec::new();
        let mut newest: Option<Version> = None;
        let mut successor: Option<Version> = None;
        for (before, version) in newest_first.into_iter().enumerate() {
            if let Some(successor) = &successor {
                let superseded = successor.last_modified();
                let at = self.noncurrent_expiry(&version, superseded, before - 1);
                expiries.extend(at.map(|at| (version.id(), at)));
            } else {
                newest = Some(version.clone());
            }
            successor = Some(version);
        }
        match (newest, successor) {
            (Some(Version::Marker(marker)), Some(last)) if last.id() == marker.version => {
                let at = self.marker_expiry(&marker);
                expiries.extend(at.map(|at| (marker.version, at)));
            }
            (Some(Version::Marker(_) | Version::Object(_)) | None, _) => {}
        }
        expiries
    }

    /// When a version goes that was superseded at that moment, and has so many between it and the
    /// newest.
    fn noncurrent_expiry(
        &self,
        version: &Version,
        superseded: Timestamp,
        between: usize,
    ) -> Option<Timestamp> {
        let rules = self.enabled().filter_map(|rule| {
            let noncurrent = rule.noncurrent?;
            let stays = noncurrent.newer.map_or(0, NonZeroU32::get);
            let is_older = between >= usize::try_from(stays).unwrap_or(usize::MAX);
            let concerned = is_older && rule.filter.holds_for(version);
            concerned.then(|| midnight_after(superseded, noncurrent.days.get()))
        });
        rules.min()
    }

    /// When a delete marker goes that hides nothing: also by a rule about objects, once it is as old
    /// as those must be (AWS, "Lifecycle configuration elements", 2026).
    fn marker_expiry(&self, marker: &DeleteMarker) -> Option<Timestamp> {
        let rules = self.enabled().filter_map(|rule| {
            let days = match rule.expiration? {
                Expiration::ExpiredMarkers => 0,
                Expiration::Days(days) => days.get(),
                Expiration::Date(_) => return None,
            };
            let concerned = rule.filter.holds_for_marker(marker);
            concerned.then(|| midnight_after(marker.last_modified, days))
        });
        rules.min()
    }

    /// When an upload in progress is aborted.
    #[must_use]
    pub fn upload_expiry(&self, upload: &UploadInfo) -> Option<Expiry<'_>> {
        let key = upload.key.as_str();
        let rules = self.enabled().filter(|rule| rule.filter.begins(key));
        let expiries = rules.filter_map(|rule| {
            let at = midnight_after(upload.initiated, rule.abort_uploads_after_days?.get());
            Some(Expiry { at, rule: &rule.id })
        });
        expiries.min_by_key(|expiry| expiry.at)
    }

    fn enabled(&self) -> impl Iterator<Item = &LifecycleRule> {
        let rules = self.rules.iter();
        rules.filter(|rule| rule.status == RuleStatus::Enabled)
    }
}

impl Expiration {
    /// When an object of `written` goes by a rule that was given at `since`. A date that has passed
    /// by then counts for every object that was there (AWS, "Lifecycle configuration elements",
    /// 2026); one written later is not taken from under its writer's hands.
    fn of(self, written: Timestamp, since: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Days(days) => Some(midnight_after(written, days.get())),
            Self::Date(date) if written < date.max(since) => Some(date),
            Self::Date(_) => Some(midnight_after(written, 0)),
            Self::ExpiredMarkers => None,
        }
    }
}

impl RuleFilter {
    fn holds(&self, object: &Object) -> bool {
        self.begins(object.key().as_str())
            && object.attributes().tags.contain(&self.tags)
            && self.larger_than.is_none_or(|bytes| object.size() > bytes)
            && self.smaller_than.is_none_or(|bytes| object.size() < bytes)
    }

    fn holds_for(&self, version: &Version) -> bool {
        match version {
            Version::Object(object) => self.holds(object),
            Version::Marker(marker) => self.holds_for_marker(marker),
        }
    }

    /// Delete markers have no tags and no size: what asks for some is not about them.
    fn holds_for_marker(&self, marker: &DeleteMarker) -> bool {
        let by_object =
            !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some();
        !by_object && self.begins(marker.key.as_str())
    }

    fn begins(&self, key: &str) -> bool {
        let prefix = self.prefix.as_deref();
        prefix.is_none_or(|prefix| key.starts_with(prefix))
    }
}

/// The midnight (UTC) that follows the moment `days` days after `at` (AWS, "Lifecycle configuration
/// elements", 2026: the days are added and the result is rounded up to the next day's midnight).
fn midnight_after(at: Timestamp, days: u32) -> Timestamp {
    let day = at.as_millis().div_euclid(DAY_MILLIS);
    let due = day.saturating_add(i64::from(days) + 1);
    Timestamp::from_millis(due.saturating_mul(DAY_MILLIS))
}

/// Whether a moment is a midnight (UTC).
pub(crate) fn is_midnight(at: Timestamp) -> bool {
    at.as_millis().rem_euclid(DAY_MILLIS) == 0
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::object::tests::object;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    /// A rule about everything.
    pub(crate) fn rule(id: &str, expiration: Expiration) -> LifecycleRule {
        LifecycleRule {
            id: id.to_owned(),
            status: RuleStatus::Enabled,
            filter: RuleFilter {
                form: FilterForm::Filter,
                prefix: None,
                tags: Tags::default(),
                larger_than: None,
                smaller_than: None,
            },
            expiration: Some(expiration),
            noncurrent: None,
            abort_uploads_after_days: None,
        }
    }

    fn days(days: u32) -> Expiration {
        Expiration::Days(NonZeroU32::new(days).unwrap())
    }

    fn lifecycle(rules: impl IntoIterator<Item = LifecycleRule>) -> Lifecycle {
        Lifecycle {
            rules: rules.into_iter().collect(),
            since: at("2026-01-10T12:00:00Z"),
        }
    }

    /// The example of AWS's documentation.
    #[test]
    fn days_are_counted_to_the_midnight_that_follows() {
        assert_eq!(
            midnight_after(at("2014-01-15T10:30:00Z"), 3),
            at("2014-01-19T00:00:00Z")
        );
        assert_eq!(
            midnight_after(at("2026-02-28T23:59:59.999Z"), 1),
            at("2026-03-02T00:00:00Z")
        );
        assert!(is_midnight(midnight_after(at("1969-12-31T01:00:00Z"), 1)));
    }

    #[test]
    fn a_date_counts_for_what_was_there_and_what_comes_later_goes_at_the_next_midnight() {
        for (date, written, due) in [
            ("2026-02-01", "2026-01-31T23:00:00Z", "2026-02-01"),
            ("2026-02-01", "2026-02-01T00:00:00Z", "2026-02-02"),
            // The date had passed when the rule was given.
            ("2026-01-01", "2026-01-10T11:59:00Z", "2026-01-01"),
            ("2026-01-01", "2026-01-10T12:00:00Z", "2026-01-11"),
        ] {
            let midnight = |day: &str| at(&format!("{day}T00:00:00Z"));
            let rules = lifecycle([rule("r", Expiration::Date(midnight(date)))]);
            let mut object = object("k");
            object.last_modified = at(written);
            assert_eq!(
                rules.expiry(&object).unwrap().at,
                midnight(due),
                "{written}"
            );
        }
    }

    #[test]
    fn a_rule_is_about_objects_for_which_all_of_its_filter_holds() {
        let mut wanted = rule("r", days(1));
        wanted.filter = RuleFilter {
            form: FilterForm::And,
            prefix: Some("logs/".to_owned()),
            tags: Tags::from_header("keep=no").unwrap(),
            larger_than: Some(10),
            smaller_than: Some(20),
        };
        let rules = lifecycle([wanted.clone()]);
        for (key, tags, size, holds) in [
            ("logs/a", "keep=no&b=c", 15, true),
            ("log", "keep=no", 15, false),
            ("logs/a", "keep=yes", 15, false),
            ("logs/a", "keep=no", 10, false),
            ("logs/a", "keep=no", 20, false),
        ] {
            let mut object = object(key);
            object.size = size;
            object.attributes.tags = Tags::from_header(tags).unwrap();
            assert_eq!(
                rules.expiry(&object).is_some(),
                holds,
                "{key} {tags} {size}"
            );
        }
        wanted.status = RuleStatus::Disabled;
        let mut object = object("logs/a");
        object.size = 15;
        object.attributes.tags = Tags::from_header("keep=no").unwrap();
        assert!(lifecycle([wanted]).expiry(&object).is_none());
    }

    #[test]
    fn of_several_rules_the_one_that_comes_first_counts() {
        let rules = lifecycle([rule("late", days(9)), rule("soon", days(2))]);
        assert_eq!(rules.expiry(&object("k")).unwrap().rule, "soon");
    }

    fn version(order: u64, day: &str) -> Version {
        let mut object = object("k");
        object.version = VersionId::at(crate::Sequencer::from_bits(order));
        object.last_modified = at(&format!("{day}T01:00:00Z"));
        Version::Object(Arc::new(object))
    }

    fn marker(order: u64, day: &str) -> Version {
        let Version::Object(object) = version(order, day) else {
            panic!("an object");
        };
        Version::Marker(Arc::new(DeleteMarker {
            key: object.key.clone(),
            version: object.version,
            order: object.order,
            last_modified: object.last_modified,
        }))
    }

    #[test]
    fn superseded_versions_go_by_when_they_were_but_for_the_newest_of_them() {
        let mut wanted = rule("r", Expiration::ExpiredMarkers);
        wanted.noncurrent = Some(NoncurrentExpiration {
            days: NonZeroU32::new(2).unwrap(),
            newer: NonZeroU32::new(1),
        });
        let rules = lifecycle([wanted]);
        let versions = [
            version(4, "2026-01-09"),
            version(3, "2026-01-07"),
            marker(2, "2026-01-05"),
            version(1, "2026-01-01"),
        ];
        let expiries = rules.version_expiries(versions.clone());
        let due = |day: &str| at(&format!("{day}T00:00:00Z"));
        assert_eq!(
            expiries,
            [
                (versions[2].id(), due("2026-01-10")),
                (versions[3].id(), due("2026-01-08")),
            ]
        );
        assert!(rules.version_expiries([versions[0].clone()]).is_empty());
    }

    #[test]
    fn a_delete_marker_goes_once_it_hides_nothing() {
        let due = |day: &str| at(&format!("{day}T00:00:00Z"));
        for (expiration, day) in [
            (Expiration::ExpiredMarkers, Some("2026-01-02")),
            (days(3), Some("2026-01-05")),
            (Expiration::Date(due("2026-01-01")), None),
        ] {
            let rules = lifecycle([rule("r", expiration)]);
            let alone = marker(2, "2026-01-01");
            let expiries = rules.version_expiries([alone.clone()]);
            let wanted: Vec<_> = day.map(|day| (alone.id(), due(day))).into_iter().collect();
            assert_eq!(expiries, wanted, "{expiration:?}");
            let hides = [alone, version(1, "2026-01-01")];
            assert!(rules.version_expiries(hides).is_empty());
        }
    }

    /// The format on disk: what is written today must be read for ever.
    #[test]
    fn rules_of_the_first_format_are_read() {
        let text = r#"{"rules":[{"id":"r","status":"enabled","filter":{"form":"and",
            "prefix":"p","tags":{"a":"b"},"larger-than":1,"smaller-than":9},
            "expiration":{"days":3},"abort-uploads-after-days":7},{"id":"s",
            "status":"disabled","filter":{"form":"rule"},"expiration":{"date":86400000}},{"id":"t",
            "status":"enabled","filter":{"form":"rule"},"expiration":"expired-markers",
            "noncurrent":{"days":3,"newer":2}}],"since":5}"#;
        let rules: Lifecycle = serde_json::from_str(text).unwrap();
        let compact: String = text.split_whitespace().collect();
        assert_eq!(serde_json::to_string(&rules).unwrap(), compact);
    }
}
