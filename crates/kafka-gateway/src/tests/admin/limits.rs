//! What settings keep out.

use super::*;

#[tokio::test]
async fn a_compacted_topic_names_the_records_that_lack_a_key() {
    let (served, mut client) = with_topics().await;
    let (code, _) = changed(&mut client, "theirs", 0, "cleanup.policy", Some("compact")).await;
    assert_eq!(code, 0);
    let mixed = [
        record(Some("a")),
        record(None),
        record(Some("b")),
        record(None),
    ];
    let refused = produced(&mut client, "theirs", &mixed).await;
    assert_eq!(refused, (ResponseError::InvalidRecord.code(), vec![1, 3]));
    let keyed = produced(&mut client, "theirs", &[record(Some("a"))]).await;
    assert_eq!(keyed, (0, vec![]));
    let asked = DeleteRecordsTopic::default()
        .with_name(wire_name("theirs"))
        .with_partitions(vec![DeleteRecordsPartition::default().with_offset(1)]);
    let asked = DeleteRecordsRequest::default().with_topics(vec![asked]);
    let answer = call!(client, DeleteRecords, 2, asked);
    let told = answer.topics[0].partitions[0].error_code;
    assert_eq!(told, ResponseError::PolicyViolation.code());
    served.stop().await;
}

#[tokio::test]
async fn a_batch_above_its_topics_limit_is_refused() {
    let (served, mut client) = with_topics().await;
    let (code, _) = changed(&mut client, "theirs", 0, "max.message.bytes", Some("100")).await;
    assert_eq!(code, 0);
    let many: Vec<_> = (0..20).map(|_| record(None)).collect();
    let (code, _) = produced(&mut client, "theirs", &many).await;
    assert_eq!(code, ResponseError::MessageTooLarge.code());
    let (code, _) = produced(&mut client, "theirs", &many[..1]).await;
    assert_eq!(code, 0);
    served.stop().await;
}
