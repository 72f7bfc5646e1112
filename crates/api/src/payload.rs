//! What handlers see of a trigger's records, and what they answer.

mod answer;
mod bucket;
mod kafka;
mod table;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use dispatcher::{BatchAnswer, Payloads};
use event_log::{Partition, StoredRecord};
use function::{Trigger, TriggerSource};
use serde_json::Value;

/// AWS's event shapes: `SelfManagedKafka` for topics, DynamoDB Streams for tables, S3 event
/// notifications for buckets.
#[derive(Clone, Copy, Debug, Default)]
pub struct LambdaPayloads;

impl Payloads for LambdaPayloads {
    fn encode(&self, trigger: &Trigger, partition: Partition, records: &[StoredRecord]) -> Bytes {
        match &trigger.source {
            TriggerSource::Topic {
                topic,
                bootstrap_servers,
                ..
            } => kafka::encode(bootstrap_servers, topic, partition, records),
            TriggerSource::TableStream { .. } => table::encode(records),
            TriggerSource::Bucket {
                configuration_id, ..
            } => bucket::encode(configuration_id, records),
        }
    }

    fn selects(&self, trigger: &Trigger, record: &StoredRecord) -> bool {
        match &trigger.source {
            TriggerSource::Topic { .. } => true,
            TriggerSource::TableStream { .. } => table::selects(&trigger.filters, &record.record),
            TriggerSource::Bucket { .. } => bucket::selects(&trigger.source, &record.record),
        }
    }

    fn filter_document(
        &self,
        trigger: &Trigger,
        partition: Partition,
        record: &StoredRecord,
    ) -> Option<Value> {
        match &trigger.source {
            TriggerSource::Topic { topic, .. } => {
                Some(kafka::filter_document(topic, partition, record))
            }
            TriggerSource::TableStream { .. } => table::change(&record.record),
            TriggerSource::Bucket { .. } => bucket::event(&record.record),
        }
    }

    fn batch_answer(
        &self,
        trigger: &Trigger,
        partition: Partition,
        records: &[StoredRecord],
        answer: &Bytes,
    ) -> BatchAnswer {
        if !trigger.report_batch_item_failures {
            return BatchAnswer::Done;
        }
        match &trigger.source {
            TriggerSource::TableStream { .. } => table::answer(records, answer),
            TriggerSource::Topic { .. } | TriggerSource::Bucket { .. } => {
                answer::of_topic(&trigger.topic(), partition, records, answer)
            }
        }
    }
}
