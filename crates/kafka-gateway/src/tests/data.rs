//! Producing and fetching.

mod fetching;
mod naming;
mod writing;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clock::Timestamp;
use event::Record;
use event_log::{Lifetime, Partition, RecordBatch, Settlement, TopicConfig, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{self, *};

use super::client::{Client, Served, call};
use super::samples::text;

fn topic(name: &str) -> messages::TopicName {
    messages::TopicName(text(name))
}

fn batch(values: &[&str]) -> RecordBatch {
    let records = values.iter().enumerate().map(|(index, value)| {
        let time = Timestamp::from_millis(1_000 + i64::try_from(index).unwrap());
        Record::new((*value).to_owned(), time)
    });
    RecordBatch::of(&records.collect::<Vec<_>>()).unwrap()
}

fn produce(name: &str, index: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(index)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(topic(name))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![topic])
}

fn outcome(response: &ProduceResponse) -> (i16, i64) {
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

fn fetch(name: &str, offset: i64, wait: Duration) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic(name))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap())
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

fn values(response: &FetchResponse) -> Vec<String> {
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let mut bytes = partition.records.clone().unwrap();
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let batch = RecordBatch::take(&mut bytes).unwrap();
        for stored in batch.records().unwrap() {
            let value = stored.record.value.unwrap();
            values.push(String::from_utf8(value.to_vec()).unwrap());
        }
    }
    values
}

async fn with_topic(name: &str) -> (Served, Client) {
    let served = Served::new().await;
    let config = TopicConfig::new(1, Lifetime::Events);
    let name = TopicName::new(name).unwrap();
    served.log.create_topic(&name, config).await.unwrap();
    let client = served.client().await;
    (served, client)
}

async fn append(served: &Served, name: &str, batch: &RecordBatch) {
    let place = TopicName::new(name).unwrap().partition(Partition::new(0));
    let settlement = Settlement::of(place, batch.clone());
    served.log.commit(settlement).await.unwrap();
}
