//! PutBucketNotificationConfiguration and its counterpart.

use std::collections::HashSet;

use md5::{Digest as _, Md5};
use s3s::dto::{
    Event, FilterRule, FilterRuleName, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration,
    NotificationConfigurationFilter, PutBucketNotificationConfigurationInput,
    PutBucketNotificationConfigurationOutput, S3KeyFilter,
};
use s3s::{S3Error, S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::refusals::not_applied;
use crate::{BucketName, FunctionNotification};

/// The events that buckets have, and the patterns that name several.
const EVENTS: [&str; 14] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
];
/// Those that other stores' buckets have, too: objects coming and going.
const FAMILIES_OF_WATCHED: [&str; 2] = ["s3:ObjectCreated:", "s3:ObjectRemoved:"];
/// What no listing of objects tells from an object that is gone.
const UNKNOWN_OF_WATCHED: &str = "s3:ObjectRemoved:DeleteMarkerCreated";

pub(super) async fn put(
    door: &Door,
    call: Call<PutBucketNotificationConfigurationInput>,
) -> S3Result<PutBucketNotificationConfigurationOutput> {
    let input = call.input;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    expect_bucket(door, &bucket)?;
    if input.skip_destination_validation == Some(true) {
        return Err(not_applied("x-amz-skip-destination-validation"));
    }
    let configuration = input.notification_configuration;
    if configuration.event_bridge_configuration.is_some() {
        return Err(unsupported("EventBridgeConfiguration"));
    }
    if configuration
        .queue_configurations
        .is_some_and(|queues| !queues.is_empty())
    {
        return Err(unsupported("QueueConfiguration"));
    }
    if configuration
        .topic_configurations
        .is_some_and(|topics| !topics.is_empty())
    {
        return Err(unsupported("TopicConfiguration"));
    }
    let functions = configuration
        .lambda_function_configurations
        .unwrap_or_default();
    let functions = functions
        .into_iter()
        .map(notification)
        .collect::<S3Result<Vec<_>>>()?;
    if door.notifications.is_watched(&bucket) {
        check_watched(&functions)?;
    }
    check_together(&functions)?;
    door.notifications.replace(&bucket, functions).await?;
    Ok(PutBucketNotificationConfigurationOutput {})
}

pub(super) async fn get(
    door: &Door,
    call: Call<GetBucketNotificationConfigurationInput>,
) -> S3Result<GetBucketNotificationConfigurationOutput> {
    let input = call.input;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    expect_bucket(door, &bucket)?;
    let functions = door.notifications.get(&bucket).await?;
    let configurations = functions.into_iter().map(configuration).collect();
    Ok(GetBucketNotificationConfigurationOutput {
        lambda_function_configurations: Some(configurations),
        ..Default::default()
    })
}

/// Our own bucket, or one of another store whose events are in the log.
fn expect_bucket(door: &Door, bucket: &BucketName) -> S3Result<()> {
    if !door.notifications.is_watched(bucket) {
        door.expect_bucket(bucket)?;
    }
    Ok(())
}

fn unsupported(what: &str) -> S3Error {
    s3_error!(
        InvalidArgument,
        "{what} is not supported: notifications go to functions (CloudFunctionConfiguration)"
    )
}

fn notification(configuration: LambdaFunctionConfiguration) -> S3Result<FunctionNotification> {
    let events: Vec<String> = configuration.events.into_iter().map(String::from).collect();
    if events.is_empty() {
        return Err(s3_error!(MalformedXML, "name at least one event"));
    }
    if let Some(unknown) = events
        .iter()
        .find(|event| !EVENTS.contains(&event.as_str()))
    {
        return Err(s3_error!(
            InvalidArgument,
            "The event '{unknown}' is not supported for notifications"
        ));
    }
    let rules = configuration.filter.and_then(|filter| filter.key);
    let rules = rules.and_then(|key| key.filter_rules).unwrap_or_default();
    let (mut prefix, mut suffix) = (None, None);
    for rule in rules {
        let name = rule.name.as_ref().map_or("", FilterRuleName::as_str);
        let slot = match name.to_ascii_lowercase().as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            _ => {
                return Err(s3_error!(
                    InvalidArgument,
                    "filter rule name must be either prefix or suffix"
                ));
            }
        };
        if slot.replace(rule.value.unwrap_or_default()).is_some() {
            return Err(s3_error!(
                InvalidArgument,
                "Cannot specify more than one {name} rule in a filter."
            ));
        }
    }
    let mut notification = FunctionNotification {
        id: configuration.id.unwrap_or_default(),
        function_arn: configuration.lambda_function_arn,
        events,
        prefix,
        suffix,
    };
    if notification.id.is_empty() {
        notification.id = default_id(&notification);
    }
    Ok(notification)
}

/// The id of a configuration that came without one: the same for the same configuration, so that
/// putting it again changes nothing.
fn default_id(notification: &FunctionNotification) -> String {
    let mut events: Vec<&str> = notification.events.iter().map(String::as_str).collect();
    events.sort_unstable();
    events.dedup();
    // Every part begins with its length, so that no two configurations read the same.
    let mut hash = Md5::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    part(&notification.function_arn);
    part(notification.prefix.as_deref().unwrap_or_default());
    part(notification.suffix.as_deref().unwrap_or_default());
    events.into_iter().for_each(part);
    let hash: [u8; 16] = hash.finalize().into();
    uuid::Builder::from_md5_bytes(hash).into_uuid().to_string()
}

fn configuration(notification: FunctionNotification) -> LambdaFunctionConfiguration {
    let rule = |name: &'static str, value: Option<String>| {
        value.map(|value| FilterRule {
            name: Some(FilterRuleName::from_static(name)),
            value: Some(value),
        })
    };
    let rules: Vec<FilterRule> = [
        rule("Prefix", notification.prefix),
        rule("Suffix", notification.suffix),
    ]
    .into_iter()
    .flatten()
    .collect();
    let filter = (!rules.is_empty()).then_some(NotificationConfigurationFilter {
        key: Some(S3KeyFilter {
            filter_rules: Some(rules),
        }),
    });
    LambdaFunctionConfiguration {
        id: Some(notification.id),
        lambda_function_arn: notification.function_arn,
        events: notification.events.into_iter().map(Event::from).collect(),
        filter,
    }
}

/// What a listing shows of another store's bucket is objects, not what is kept with them.
fn check_watched(functions: &[FunctionNotification]) -> S3Result<()> {
    let mut events = functions.iter().flat_map(|function| &function.events);
    let known = |event: &str| {
        let mut families = FAMILIES_OF_WATCHED.iter();
        event != UNKNOWN_OF_WATCHED && families.any(|family| event.starts_with(family))
    };
    match events.find(|event| !known(event)) {
        Some(event) => Err(s3_error!(
            InvalidArgument,
            "The event '{event}' is not known of a bucket of another store"
        )),
        None => Ok(()),
    }
}

/// What no two configurations of a bucket may have in common: an id, or an event of an object.
fn check_together(functions: &[FunctionNotification]) -> S3Result<()> {
    for (index, one) in functions.iter().enumerate() {
        for other in &functions[index + 1..] {
            if overlap(one, other) {
                return Err(s3_error!(
                    InvalidArgument,
                    "Configurations overlap. Configurations on the same bucket cannot share a common event type. : {}, {}",
                    one.id,
                    other.id
                ));
            }
        }
    }
    // Looked at last: configurations that came without an id and are the same overlap as well.
    let mut ids = HashSet::new();
    if functions.iter().any(|function| !ids.insert(&function.id)) {
        return Err(s3_error!(
            InvalidArgument,
            "Same ID used for multiple configurations. IDs must be unique"
        ));
    }
    Ok(())
}

fn overlap(one: &FunctionNotification, other: &FunctionNotification) -> bool {
    let events = one
        .events
        .iter()
        .any(|a| other.events.iter().any(|b| share_events(a, b)));
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (a, b) = (text(&one.prefix), text(&other.prefix));
    let prefixes = a.starts_with(&b) || b.starts_with(&a);
    let (a, b) = (text(&one.suffix), text(&other.suffix));
    let suffixes = a.ends_with(&b) || b.ends_with(&a);
    events && prefixes && suffixes
}

fn share_events(a: &str, b: &str) -> bool {
    let covers = |pattern: &str, event: &str| {
        pattern
            .strip_suffix('*')
            .is_some_and(|kind| event.starts_with(kind))
    };
    a == b || covers(a, b) || covers(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(id: &str, event: &str, prefix: &str, suffix: &str) -> FunctionNotification {
        FunctionNotification {
            id: id.to_owned(),
            function_arn: String::new(),
            events: vec![event.to_owned()],
            prefix: Some(prefix.to_owned()),
            suffix: Some(suffix.to_owned()),
        }
    }

    #[test]
    fn configurations_overlap_when_one_object_could_go_to_both() {
        let all = to("a", "s3:ObjectCreated:*", "in/", ".csv");
        for (other, overlaps) in [
            (to("b", "s3:ObjectCreated:Put", "in/x", ""), true),
            (to("b", "s3:ObjectCreated:Put", "out/", ".csv"), false),
            (to("b", "s3:ObjectCreated:Put", "in/", ".json"), false),
            (to("b", "s3:ObjectRemoved:*", "in/", ".csv"), false),
            (to("b", "s3:ObjectCreated:*", "", "v"), true),
        ] {
            assert_eq!(check_together(&[all.clone(), other]).is_err(), overlaps);
        }
        let same_id = [all.clone(), to("a", "s3:ObjectRemoved:*", "", "")];
        assert!(check_together(&same_id).is_err());
    }

    #[test]
    fn of_another_stores_bucket_only_objects_that_come_and_go_are_known() {
        let watched = |event: &str| check_watched(&[to("a", event, "", "")]).is_ok();
        for event in EVENTS {
            let family = event.contains("ObjectCreated") || event.contains("ObjectRemoved");
            let known = family && !event.contains("Marker");
            assert_eq!(watched(event), known, "{event}");
        }
    }

    #[test]
    fn a_configuration_without_an_id_gets_the_same_one_each_time() {
        let id = |function: &str, events: &[&'static str]| {
            let configuration = LambdaFunctionConfiguration {
                id: None,
                lambda_function_arn: function.to_owned(),
                events: events
                    .iter()
                    .map(|event| Event::from((*event).to_owned()))
                    .collect(),
                filter: None,
            };
            notification(configuration).unwrap().id
        };
        let (put, delete) = ("s3:ObjectCreated:Put", "s3:ObjectRemoved:Delete");
        let first = id("f", &[put, delete]);
        assert_eq!(first, id("f", &[put, delete]));
        assert_eq!(first, id("f", &[delete, put]));
        assert_ne!(first, id("g", &[put, delete]));
        assert_ne!(first, id("f", &[put]));
    }
}
