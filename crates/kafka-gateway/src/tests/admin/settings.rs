//! Settings of topics, set and changed.

use super::*;

async fn described(client: &mut Client, name: &str) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let asked = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let mut answer = call!(client, DescribeConfigs, 4, asked);
    assert_eq!(answer.results[0].error_code, 0);
    answer.results.remove(0).configs
}

/// Value and source of a setting, as described.
async fn setting(client: &mut Client, topic: &str, name: &str) -> (String, i8) {
    let all = described(client, topic).await;
    let entry = all.iter().find(|entry| entry.name.as_str() == name);
    let entry = entry.unwrap();
    (
        entry.value.clone().unwrap().to_string(),
        entry.config_source,
    )
}

#[tokio::test]
async fn a_topic_has_the_settings_it_was_created_with() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let settings = [
        ("cleanup.policy", Some("compact,delete")),
        ("retention.ms", Some("60000")),
        ("retention.bytes", Some("-1")),
        ("max.message.bytes", Some("2048")),
        ("min.insync.replicas", Some("1")),
    ];
    let asked = CreateTopicsRequest::default().with_topics(vec![topic("made", &settings)]);
    let answer = call!(client, CreateTopics, 7, asked);
    assert_eq!(answer.topics[0].error_code, 0);
    let told = answer.topics[0].configs.clone().unwrap();
    assert!(
        told.iter()
            .any(|entry| entry.name.as_str() == "retention.ms"
                && entry.value.as_deref() == Some("60000")
                && entry.config_source == 1)
    );
    let made = found(&served, "made").unwrap().config.settings;
    assert_eq!(made.cleanup, Cleanup::CompactAndDelete);
    assert_eq!(made.retention_bytes, Some(Limit::Unlimited));
    assert_eq!(made.max_batch_bytes, Some(2048));
    for (name, value, source) in [
        ("cleanup.policy", "compact,delete", 1),
        ("retention.ms", "60000", 1),
        ("delete.retention.ms", "86400000", 5),
        ("min.insync.replicas", "1", 5),
    ] {
        let said = setting(&mut client, "made", name).await;
        assert_eq!(said, (value.to_owned(), source), "{name}");
    }
    let all = described(&mut client, "made").await;
    let age = all
        .iter()
        .find(|entry| entry.name.as_str() == "retention.ms");
    let age = age.unwrap();
    assert!(age.documentation.is_some() && age.config_type == 5 && !age.read_only);
    let synonyms = age.synonyms.iter();
    let synonyms: Vec<_> = synonyms.map(|s| (s.name.as_str(), s.source)).collect();
    assert_eq!(synonyms, [("retention.ms", 1), ("log.retention.ms", 4)]);
    served.stop().await;
}

#[tokio::test]
async fn a_topic_whose_settings_are_not_supported_is_not_created() {
    let served = Served::new().await;
    let mut client = served.client().await;
    for (name, value) in [
        ("dummy.doesntexist", Some("x")),
        ("segment.bytes", Some("1000000")),
        ("compression.type", Some("gzip")),
        ("retention.ms", Some("soon")),
        ("retention.ms", None),
    ] {
        let asked = vec![topic("made", &[(name, value)])];
        let asked = CreateTopicsRequest::default().with_topics(asked);
        let answer = call!(client, CreateTopics, 7, asked);
        assert_eq!(answer.topics[0].error_code, INVALID_CONFIG.code());
        let message = answer.topics[0].error_message.clone().unwrap();
        assert!(message.contains(name), "{message:?}");
    }
    let settings = [("retention.ms", Some("1"))];
    let asked = CreateTopicsRequest::default()
        .with_topics(vec![topic("made", &settings)])
        .with_validate_only(true);
    let answer = call!(client, CreateTopics, 7, asked);
    assert_eq!(answer.topics[0].error_code, 0);
    assert!(answer.topics[0].topic_id.is_nil());
    assert_eq!(found(&served, "made"), None);
    served.stop().await;
}

#[tokio::test]
async fn settings_are_changed_one_by_one_or_replaced_as_a_whole() {
    let (served, mut client) = with_topics().await;
    let (set, reset, append) = (0, 1, 2);
    for (operation, name, value) in [
        (set, "retention.ms", Some("5000")),
        (set, "retention.bytes", Some("4096")),
        (append, "cleanup.policy", Some("compact")),
    ] {
        let (code, _) = changed(&mut client, "theirs", operation, name, value).await;
        assert_eq!(code, 0, "{name}");
    }
    let all = found(&served, "theirs").unwrap().config.settings;
    assert_eq!(all.cleanup, Cleanup::CompactAndDelete);
    assert_eq!(all.retention_bytes, Some(Limit::AtMost(4096)));
    let (code, _) = changed(&mut client, "theirs", reset, "retention.bytes", None).await;
    assert_eq!(code, 0);
    let said = setting(&mut client, "theirs", "retention.bytes").await;
    assert_eq!(said, ("-1".to_owned(), 5));

    for validate_only in [true, false] {
        let config = Replaced::default()
            .with_name(text("max.message.bytes"))
            .with_value(Some(text("9000")));
        let resource = Replacing::default()
            .with_resource_type(2)
            .with_resource_name(text("theirs"))
            .with_configs(vec![config]);
        let asked = AlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let answer = call!(client, AlterConfigs, 2, asked);
        assert_eq!(answer.responses[0].error_code, 0);
        let (_, source) = setting(&mut client, "theirs", "retention.ms").await;
        assert_eq!(source == 1, validate_only, "what is not named falls back");
    }
    let said = setting(&mut client, "theirs", "max.message.bytes").await;
    assert_eq!(said, ("9000".to_owned(), 1));
    served.stop().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_applied_changes_nothing() {
    let (served, mut client) = with_topics().await;
    let before = found(&served, "theirs").unwrap().config;
    for (topic, operation, name, value, refusal) in [
        ("theirs", 0, "compression.type", Some("lz4"), INVALID_CONFIG),
        ("theirs", 0, "retention.ms", None, INVALID_CONFIG),
        ("theirs", 2, "retention.ms", Some("1"), INVALID_CONFIG),
        (
            "theirs",
            9,
            "retention.ms",
            Some("1"),
            ResponseError::InvalidRequest,
        ),
        (
            "nowhere",
            0,
            "retention.ms",
            Some("1"),
            ResponseError::UnknownTopicOrPartition,
        ),
        (
            "../etc",
            0,
            "retention.ms",
            Some("1"),
            ResponseError::InvalidTopicException,
        ),
        ("tidemill.ours", 0, "retention.ms", Some("1"), UNAUTHORIZED),
    ] {
        let (code, message) = changed(&mut client, topic, operation, name, value).await;
        assert_eq!(code, refusal.code(), "{topic} {name}: {message}");
    }
    let twice = |name| {
        Changed::default()
            .with_name(text(name))
            .with_value(Some(text("1")))
    };
    let resource = Changing::default()
        .with_resource_type(2)
        .with_resource_name(text("theirs"))
        .with_configs(vec![twice("retention.ms"), twice("retention.ms")]);
    let of_the_broker = Changing::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configs(vec![twice("num.partitions")]);
    let asked = IncrementalAlterConfigsRequest::default().with_resources(vec![
        resource.clone(),
        of_the_broker,
        resource,
    ]);
    let answer = call!(client, IncrementalAlterConfigs, 0, asked);
    let invalid = ResponseError::InvalidRequest.code();
    assert!(answer.responses.iter().all(|r| r.error_code == invalid));
    assert_eq!(found(&served, "theirs").unwrap().config, before);
    served.stop().await;
}
