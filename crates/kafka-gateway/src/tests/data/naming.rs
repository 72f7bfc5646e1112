//! Which topics there are for clients.

use super::*;

#[tokio::test]
async fn a_topic_is_created_on_first_use_with_the_default_partitions() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let ask = |allow| {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic("new")));
        MetadataRequest::default()
            .with_topics(Some(vec![wanted]))
            .with_allow_auto_topic_creation(allow)
    };
    let refused = call!(client, Metadata, 9, ask(false));
    assert_eq!(refused.topics[0].error_code, 3);
    let created = call!(client, Metadata, 9, ask(true));
    assert_eq!(created.topics[0].error_code, 0);
    assert_eq!(created.topics[0].partitions.len(), 8);
    let port = i32::from(served.address.port());
    assert_eq!(created.brokers[0].port, port);
    served.stop().await;
}

#[tokio::test]
async fn clients_cannot_write_create_or_delete_our_topics_but_read_them() {
    let (served, mut client) = with_topic("tidemill.billing").await;
    append(&served, "tidemill.billing", &batch(&["bill"])).await;
    let denied = ResponseError::TopicAuthorizationFailed.code();

    let records = batch(&["forged"]).as_bytes().clone();
    let written = call!(client, Produce, 9, produce("tidemill.billing", 0, records));
    assert_eq!(outcome(&written), (denied, -1));

    let asked = CreatableTopic::default()
        .with_name(topic("bucket.mine"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let asked = CreateTopicsRequest::default().with_topics(vec![asked]);
    let created = call!(client, CreateTopics, 7, asked);
    assert_eq!(created.topics[0].error_code, denied);

    let asked = DeleteTopicsRequest::default().with_topic_names(vec![topic("tidemill.billing")]);
    let deleted = call!(client, DeleteTopics, 5, asked);
    assert_eq!(deleted.responses[0].error_code, denied);

    let wanted = MetadataRequestTopic::default().with_name(Some(topic("bucket.mine")));
    let asked = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let described = call!(client, Metadata, 9, asked);
    assert_eq!(
        described.topics[0].error_code, 3,
        "not created on first use"
    );

    let fetched = call!(
        client,
        Fetch,
        12,
        fetch("tidemill.billing", 0, Duration::ZERO)
    );
    assert_eq!(values(&fetched), ["bill"]);
    served.stop().await;
}

#[tokio::test]
async fn a_hidden_topic_answers_like_one_that_does_not_exist() {
    let (served, mut client) = with_topic("bucket.tidemill-registry").await;
    append(&served, "bucket.tidemill-registry", &batch(&["secret"])).await;
    let hidden = TopicName::new("bucket.tidemill-registry").unwrap();
    let id = served.log.topic(&hidden).unwrap().id;
    let unknown = ResponseError::UnknownTopicOrPartition.code();

    for name in ["bucket.tidemill-registry", "bucket.tidemill-absent"] {
        let fetched = call!(client, Fetch, 12, fetch(name, 0, Duration::ZERO));
        let partition = &fetched.responses[0].partitions[0];
        assert_eq!(partition.error_code, unknown);
        assert!(partition.records.as_ref().is_none_or(Bytes::is_empty));

        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let offsets = ListOffsetsTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition]);
        let offsets = ListOffsetsRequest::default().with_topics(vec![offsets]);
        let listed = call!(client, ListOffsets, 7, offsets);
        assert_eq!(listed.topics[0].partitions[0].error_code, unknown);

        for create in [false, true] {
            let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
            let by_name = MetadataRequest::default()
                .with_topics(Some(vec![wanted]))
                .with_allow_auto_topic_creation(create);
            let described = call!(client, Metadata, 12, by_name);
            assert_eq!(described.topics[0].error_code, unknown);
            assert!(described.topics[0].partitions.is_empty());
        }
    }
    let mut by_id = fetch("", 0, Duration::ZERO);
    by_id.topics[0].topic_id = id;
    let fetched = call!(client, Fetch, 13, by_id);
    assert_eq!(
        fetched.responses[0].partitions[0].error_code,
        ResponseError::UnknownTopicId.code()
    );
    let all = MetadataRequest::default().with_topics(None);
    let described = call!(client, Metadata, 12, all);
    assert!(described.topics.is_empty());
    served.stop().await;
}

#[tokio::test]
async fn path_like_topic_names_are_refused() {
    let served = Served::new().await;
    let mut client = served.client().await;
    for name in ["../etc", "a/b", "..", ""] {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
        let asked = MetadataRequest::default().with_topics(Some(vec![wanted]));
        let described = call!(client, Metadata, 9, asked);
        assert_eq!(described.topics[0].error_code, 17, "{name}");
        let written = call!(client, Produce, 9, produce(name, 0, Bytes::new()));
        assert_eq!(outcome(&written), (17, -1), "{name}");
    }
    assert!(served.log.topics().is_empty());
    served.stop().await;
}
