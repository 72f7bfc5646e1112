//! Partitions that are added, emptied and described.

use super::*;

#[tokio::test]
async fn partitions_are_added_and_can_be_written() {
    let (served, mut client) = with_topics().await;
    let more = |name: &str, count, assignments: Option<Vec<i32>>| {
        let assignments = assignments.map(|brokers| {
            let brokers = brokers.into_iter().map(|broker| {
                CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(broker)])
            });
            brokers.collect()
        });
        CreatePartitionsTopic::default()
            .with_name(wire_name(name))
            .with_count(count)
            .with_assignments(assignments)
    };
    for (topic, validate_only, outcome) in [
        (more("theirs", 4, None), true, None),
        (
            more("theirs", 2, None),
            false,
            Some(ResponseError::InvalidPartitions),
        ),
        (
            more("theirs", 0, None),
            false,
            Some(ResponseError::InvalidPartitions),
        ),
        (
            more("theirs", i32::MAX, None),
            false,
            Some(ResponseError::InvalidPartitions),
        ),
        (
            more("theirs", 4, Some(vec![1])),
            false,
            Some(ResponseError::InvalidReplicaAssignment),
        ),
        (
            more("theirs", 4, Some(vec![1, 2])),
            false,
            Some(ResponseError::InvalidReplicaAssignment),
        ),
        (
            more("nowhere", 4, None),
            false,
            Some(ResponseError::UnknownTopicOrPartition),
        ),
        (more("tidemill.ours", 4, None), false, Some(UNAUTHORIZED)),
    ] {
        let asked = CreatePartitionsRequest::default()
            .with_topics(vec![topic.clone()])
            .with_validate_only(validate_only);
        let answer = call!(client, CreatePartitions, 3, asked);
        let code = outcome.map_or(0, |refusal: ResponseError| refusal.code());
        assert_eq!(answer.results[0].error_code, code, "{topic:?}");
        let now = found(&served, "theirs").unwrap().config.partitions;
        assert_eq!(now, 2, "{topic:?}");
    }
    let topic = more("theirs", 4, Some(vec![1, 1]));
    let asked = CreatePartitionsRequest::default().with_topics(vec![topic]);
    let answer = call!(client, CreatePartitions, 3, asked);
    assert_eq!(answer.results[0].error_code, 0);
    let grown = found(&served, "theirs").unwrap();
    assert_eq!(grown.config.partitions, 4);
    let new = grown.name.partition(Partition::new(3));
    assert!(served.log.bounds(&new).is_ok());
    served.stop().await;
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_or_to_the_end() {
    let (served, mut client) = with_topics().await;
    for _ in 0..5 {
        let (code, _) = produced(&mut client, "theirs", &[record(None)]).await;
        assert_eq!(code, 0);
    }
    let out_of_range = ResponseError::OffsetOutOfRange;
    for (topic, offset, outcome) in [
        ("theirs", 2, Ok(2)),
        ("theirs", 1, Ok(2)),
        ("theirs", 6, Err(out_of_range)),
        ("theirs", -2, Err(out_of_range)),
        ("theirs", -1, Ok(5)),
        ("nowhere", 0, Err(ResponseError::UnknownTopicOrPartition)),
        ("tidemill.ours", 0, Err(UNAUTHORIZED)),
    ] {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let asked = DeleteRecordsTopic::default()
            .with_name(wire_name(topic))
            .with_partitions(vec![partition]);
        let asked = DeleteRecordsRequest::default().with_topics(vec![asked]);
        let answer = call!(client, DeleteRecords, 2, asked);
        let told = &answer.topics[0].partitions[0];
        let (code, start) = match outcome {
            Ok(start) => (0, start),
            Err(refusal) => (refusal.code(), -1),
        };
        assert_eq!(
            (told.error_code, told.low_watermark),
            (code, start),
            "{topic} {offset}"
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn topics_are_described_in_pages() {
    let (served, mut client) = with_topics().await;
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let mut asked = DescribeTopicPartitionsRequest::default().with_response_partition_limit(3);
        asked.cursor = cursor;
        let answer = call!(client, DescribeTopicPartitions, 0, asked);
        for topic in &answer.topics {
            let name = topic.name.clone().unwrap().to_string();
            let indexes = topic.partitions.iter().map(|p| p.partition_index);
            pages.push((name, indexes.collect::<Vec<_>>()));
        }
        let Some(next) = answer.next_cursor else {
            break;
        };
        let from = messages::describe_topic_partitions_request::Cursor::default();
        cursor = Some(
            from.with_topic_name(next.topic_name)
                .with_partition_index(next.partition_index),
        );
    }
    let page = |name: &str, indexes: &[i32]| (name.to_owned(), indexes.to_vec());
    assert_eq!(
        pages,
        [
            page("theirs", &[0, 1]),
            page("tidemill.ours", &[0]),
            page("tidemill.ours", &[1])
        ]
    );
    served.stop().await;
}
