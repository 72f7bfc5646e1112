//! PutBucketLifecycleConfiguration and its counterparts; the headers that say when something goes.

use std::collections::HashSet;
use std::num::NonZeroU32;

use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    ExpirationStatus, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    LifecycleExpiration, LifecycleRule as WrittenRule, LifecycleRuleAndOperator,
    LifecycleRuleFilter, NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Timestamp, TransitionDefaultMinimumObjectSize,
};
use s3s::{S3ErrorCode, S3Result, s3_error};
use uuid::Uuid;

use super::Door;
use super::call::Call;
use super::fields::{self, signed, timestamp};
use super::lists::Encoding;
use super::refusals::{not_applied, refuse};
use super::tagging;
use crate::lifecycle::is_midnight;
use crate::{
    BucketName, Expiration, Expiry, FilterForm, LifecycleRule, NoncurrentExpiration, Object,
    RuleFilter, RuleStatus, Tags, UploadInfo,
};

/// The most rules of a bucket, and the longest id of one (AWS, API reference, 2026).
const MAX_RULES: usize = 1000;
const MAX_ID: usize = 255;
/// The most superseded versions that a rule lets stay (AWS, API reference, 2026).
const MAX_NEWER: i32 = 100;

pub(super) async fn put(
    door: &Door,
    call: Call<PutBucketLifecycleConfigurationInput>,
) -> S3Result<PutBucketLifecycleConfigurationOutput> {
    let input = call.input;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    // It is about transitions, of which there are none; what AWS assumes anyway says nothing.
    let smallest = input.transition_default_minimum_object_size;
    match smallest.as_ref().map(|size| size.as_str()) {
        None | Some(TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K) => {}
        Some(_) => return Err(not_applied("x-amz-transition-default-minimum-object-size")),
    }
    let rules = input.lifecycle_configuration.map(|it| it.rules);
    let rules = rules.unwrap_or_default();
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(s3_error!(MalformedXML, "give 1 to {MAX_RULES} rules"));
    }
    let rules = rules.into_iter().map(read).collect::<S3Result<Vec<_>>>()?;
    let mut ids = HashSet::new();
    if rules.iter().any(|rule| !ids.insert(&rule.id)) {
        return Err(s3_error!(
            InvalidArgument,
            "Rule ID must be unique. Found same ID for more than one rule"
        ));
    }
    door.store.put_lifecycle(&bucket, rules).await?;
    Ok(PutBucketLifecycleConfigurationOutput {
        transition_default_minimum_object_size: smallest,
    })
}

pub(super) async fn get(
    door: &Door,
    call: Call<GetBucketLifecycleConfigurationInput>,
) -> S3Result<GetBucketLifecycleConfigurationOutput> {
    let input = call.input;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let lifecycle = door.store.lifecycle(&bucket)?;
    let lifecycle = lifecycle.ok_or(S3ErrorCode::NoSuchLifecycleConfiguration)?;
    Ok(GetBucketLifecycleConfigurationOutput {
        rules: Some(lifecycle.rules.iter().map(written).collect()),
        transition_default_minimum_object_size: None,
    })
}

pub(super) async fn delete(
    door: &Door,
    call: Call<DeleteBucketLifecycleInput>,
) -> S3Result<DeleteBucketLifecycleOutput> {
    let input = call.input;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.store.delete_lifecycle(&bucket).await?;
    Ok(DeleteBucketLifecycleOutput {})
}

/// The value of `x-amz-expiration` for an object, if it is the current one and ever goes by itself.
pub(super) fn expiration(door: &Door, bucket: &BucketName, object: &Object) -> Option<String> {
    let lifecycle = door.store.lifecycle(bucket).ok()??;
    let current = door.store.head(bucket, object.key()).ok()?;
    if current.version() != object.version() {
        return None;
    }
    lifecycle.expiry(object).map(header)
}

/// When an upload is aborted, and by which rule, if ever.
pub(super) fn abortion(door: &Door, upload: &UploadInfo) -> Option<(Timestamp, String)> {
    let lifecycle = door.store.lifecycle(&upload.bucket).ok()??;
    let expiry = lifecycle.upload_expiry(upload)?;
    Some((timestamp(expiry.at), expiry.rule.to_owned()))
}

fn header(expiry: Expiry<'_>) -> String {
    let at = fields::http_date(expiry.at);
    let rule = Encoding::Url.write(expiry.rule);
    format!("expiry-date=\"{at}\", rule-id=\"{rule}\"")
}

fn read(rule: WrittenRule) -> S3Result<LifecycleRule> {
    refuse!(rule;
        transitions => "Transition",
        noncurrent_version_transitions => "NoncurrentVersionTransition",
    );
    let status = match rule.status.as_str() {
        ExpirationStatus::ENABLED => RuleStatus::Enabled,
        ExpirationStatus::DISABLED => RuleStatus::Disabled,
        _ => return Err(s3_error!(MalformedXML, "Status is Enabled or Disabled")),
    };
    let id = rule.id.filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    if id.chars().count() > MAX_ID {
        return Err(s3_error!(
            InvalidArgument,
            "ID length should not exceed allowed limit of {MAX_ID}"
        ));
    }
    let filter = read_filter(rule.prefix, rule.filter)?;
    let expiration = rule.expiration.map(read_expiration).transpose()?;
    let noncurrent = rule.noncurrent_version_expiration;
    let noncurrent = noncurrent.map(read_noncurrent).transpose()?;
    let abort = rule.abort_incomplete_multipart_upload;
    let abort = abort.map(|abort| days(abort.days_after_initiation, "DaysAfterInitiation"));
    let abort = abort.transpose()?;
    if expiration.is_none() && noncurrent.is_none() && abort.is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "At least one action needs to be specified in a rule"
        ));
    }
    let by_object =
        !filter.tags.is_empty() || filter.larger_than.is_some() || filter.smaller_than.is_some();
    if abort.is_some() && by_object {
        return Err(s3_error!(
            InvalidRequest,
            "AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes"
        ));
    }
    if expiration == Some(Expiration::ExpiredMarkers) && by_object {
        return Err(s3_error!(
            InvalidRequest,
            "ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes"
        ));
    }
    if noncurrent.is_some_and(|it| it.newer.is_some()) && filter.form == FilterForm::Rule {
        return Err(s3_error!(
            InvalidRequest,
            "NewerNoncurrentVersions needs a Filter"
        ));
    }
    Ok(LifecycleRule {
        id,
        status,
        filter,
        expiration,
        noncurrent,
        abort_uploads_after_days: abort,
    })
}

fn read_expiration(expiration: LifecycleExpiration) -> S3Result<Expiration> {
    let markers = expiration.expired_object_delete_marker == Some(true);
    match (expiration.days, expiration.date) {
        (None, None) if markers => Ok(Expiration::ExpiredMarkers),
        (Some(_), _) | (_, Some(_)) if markers => Err(s3_error!(
            MalformedXML,
            "ExpiredObjectDeleteMarker cannot be specified with Days or Date"
        )),
        (Some(number), None) => Ok(Expiration::Days(days(Some(number), "Days")?)),
        (None, Some(date)) => {
            let date = fields::moment(date);
            if !is_midnight(date) {
                return Err(s3_error!(InvalidArgument, "'Date' must be at midnight GMT"));
            }
            Ok(Expiration::Date(date))
        }
        (Some(_), Some(_)) | (None, None) => Err(s3_error!(
            MalformedXML,
            "an Expiration has either Days or Date"
        )),
    }
}

fn read_noncurrent(noncurrent: NoncurrentVersionExpiration) -> S3Result<NoncurrentExpiration> {
    let newer = noncurrent.newer_noncurrent_versions;
    if newer.is_some_and(|newer| !(1..=MAX_NEWER).contains(&newer)) {
        return Err(s3_error!(
            InvalidArgument,
            "'NewerNoncurrentVersions' must be 1 to {MAX_NEWER}"
        ));
    }
    let newer = newer.map(|newer| days(Some(newer), "NewerNoncurrentVersions"));
    Ok(NoncurrentExpiration {
        days: days(noncurrent.noncurrent_days, "NoncurrentDays")?,
        newer: newer.transpose()?,
    })
}

fn days(days: Option<i32>, name: &str) -> S3Result<NonZeroU32> {
    let days = days.and_then(|days| u32::try_from(days).ok());
    days.and_then(NonZeroU32::new)
        .ok_or_else(|| s3_error!(InvalidArgument, "'{name}' must be a positive integer"))
}

fn read_filter(
    of_rule: Option<String>,
    filter: Option<LifecycleRuleFilter>,
) -> S3Result<RuleFilter> {
    let malformed = || {
        s3_error!(
            MalformedXML,
            "a Filter has one condition, or several in And"
        )
    };
    let mut read = RuleFilter {
        form: FilterForm::Rule,
        prefix: of_rule,
        tags: Tags::default(),
        larger_than: None,
        smaller_than: None,
    };
    let Some(filter) = filter else {
        return match read.prefix {
            Some(_) => Ok(read),
            None => Err(s3_error!(MalformedXML, "a rule has a Filter or a Prefix")),
        };
    };
    if read.prefix.is_some() {
        return Err(malformed());
    }
    let conditions = [
        filter.and.is_some(),
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
    ];
    if conditions
        .into_iter()
        .filter(|condition| *condition)
        .count()
        > 1
    {
        return Err(malformed());
    }
    let (form, prefix, tags, larger, smaller) = match filter.and {
        Some(and) => (
            FilterForm::And,
            and.prefix,
            and.tags.unwrap_or_default(),
            and.object_size_greater_than,
            and.object_size_less_than,
        ),
        None => (
            FilterForm::Filter,
            filter.prefix,
            filter.tag.into_iter().collect(),
            filter.object_size_greater_than,
            filter.object_size_less_than,
        ),
    };
    let size = |bytes: Option<i64>| {
        let bytes = bytes.map(u64::try_from).transpose();
        bytes.map_err(|_| s3_error!(InvalidArgument, "an object's size is not negative"))
    };
    read.form = form;
    read.prefix = prefix;
    read.tags = tagging::tags(tags)?;
    read.larger_than = size(larger)?;
    read.smaller_than = size(smaller)?;
    if let (Some(larger), Some(smaller)) = (read.larger_than, read.smaller_than)
        && larger >= smaller
    {
        return Err(s3_error!(
            InvalidRequest,
            "ObjectSizeGreaterThan must be less than ObjectSizeLessThan"
        ));
    }
    Ok(read)
}

/// A rule as its writer put it.
fn written(rule: &LifecycleRule) -> WrittenRule {
    let filter = &rule.filter;
    let (larger, smaller) = (
        filter.larger_than.map(signed),
        filter.smaller_than.map(signed),
    );
    let tags = tagging::tag_set(&filter.tags);
    let (prefix, filter) = match filter.form {
        FilterForm::Rule => (filter.prefix.clone(), None),
        FilterForm::Filter => {
            let filter = LifecycleRuleFilter {
                and: None,
                prefix: filter.prefix.clone(),
                tag: tags.into_iter().next(),
                object_size_greater_than: larger,
                object_size_less_than: smaller,
            };
            (None, Some(filter))
        }
        FilterForm::And => {
            let and = LifecycleRuleAndOperator {
                prefix: filter.prefix.clone(),
                tags: (!tags.is_empty()).then_some(tags),
                object_size_greater_than: larger,
                object_size_less_than: smaller,
            };
            let filter = LifecycleRuleFilter {
                and: Some(and),
                ..Default::default()
            };
            (None, Some(filter))
        }
    };
    let status = match rule.status {
        RuleStatus::Enabled => ExpirationStatus::ENABLED,
        RuleStatus::Disabled => ExpirationStatus::DISABLED,
    };
    let number = |days: NonZeroU32| i32::try_from(days.get()).ok();
    let expiration = rule.expiration.map(|expiration| match expiration {
        Expiration::Days(days) => LifecycleExpiration {
            days: number(days),
            ..Default::default()
        },
        Expiration::Date(date) => LifecycleExpiration {
            date: Some(timestamp(date)),
            ..Default::default()
        },
        Expiration::ExpiredMarkers => LifecycleExpiration {
            expired_object_delete_marker: Some(true),
            ..Default::default()
        },
    });
    let noncurrent = rule
        .noncurrent
        .map(|noncurrent| NoncurrentVersionExpiration {
            noncurrent_days: number(noncurrent.days),
            newer_noncurrent_versions: noncurrent.newer.and_then(number),
        });
    let abort = rule.abort_uploads_after_days;
    WrittenRule {
        id: Some(rule.id.clone()),
        status: ExpirationStatus::from_static(status),
        prefix,
        filter,
        expiration,
        abort_incomplete_multipart_upload: abort.map(|days| AbortIncompleteMultipartUpload {
            days_after_initiation: number(days),
        }),
        noncurrent_version_expiration: noncurrent,
        noncurrent_version_transitions: None,
        transitions: None,
    }
}
