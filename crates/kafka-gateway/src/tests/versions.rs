//! Every answer in every version.

use event::Record;
use event_log::{Lifetime, Partition, RecordBatch, Settlement, TopicConfig, TopicName};
use kafka_protocol::messages::{ApiKey, ResponseKind};

use super::client::Served;
use super::samples::{self, Subject};
use crate::apis::SERVED;

/// The codec refuses to encode a field that a version does not have: every answer is looked at.
async fn every_version_is_answered(served: &Served, subject: &Subject) {
    let mut client = served.client().await;
    for entry in SERVED {
        for version in entry.from..=entry.to {
            let body = samples::request(entry.api, version, subject);
            client.call(entry.api, version, &body).await;
        }
    }
}

#[tokio::test]
async fn every_refusal_is_encoded_in_every_version() {
    let served = Served::new().await;
    every_version_is_answered(&served, &Subject::default()).await;
    served.stop().await;
}

#[tokio::test]
async fn every_answer_is_encoded_in_every_version() {
    let served = Served::new().await;
    let config = TopicConfig::new(4, Lifetime::Events);
    let name = TopicName::new("there").unwrap();
    let topic = served.log.create_topic(&name, config).await.unwrap();
    let record = Record::new("x", clock::Timestamp::from_millis(1_795_000_000_000));
    let batch = RecordBatch::of_one(record);
    let place = name.partition(Partition::new(0));
    let settlement = Settlement::of(place, batch.clone());
    served.log.commit(settlement).await.unwrap();
    let subject = Subject {
        topic: "there",
        id: topic.id,
        group: "somebody",
        records: batch.as_bytes().clone(),
    };
    // Commits come first in the table, so that later requests find a group.
    every_version_is_answered(&served, &subject).await;
    assert!(
        served
            .log
            .topic(&TopicName::new("created-2").unwrap())
            .is_none()
    );
    served.stop().await;
}

#[tokio::test]
async fn api_versions_from_the_future_are_answered_in_version_0() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let mut frame = Vec::new();
    frame.extend_from_slice(&(ApiKey::ApiVersions as i16).to_be_bytes());
    frame.extend_from_slice(&99i16.to_be_bytes());
    frame.extend_from_slice(&4i32.to_be_bytes());
    frame.extend_from_slice(b"whatever the future holds");
    client.send_frame(&frame).await;
    let (correlation, answer) = client.receive(ApiKey::ApiVersions, 0).await;
    assert_eq!(correlation, 4);
    let ResponseKind::ApiVersions(answer) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(answer.error_code, 35);
    assert_eq!(answer.api_keys.len(), SERVED.len());
    served.stop().await;
}
