//! Reading whole topics back from the log.

use bytes::Bytes;
use event_log::{Offset, Partition, SharedLog, TopicName, TopicPartition};

use crate::{BillingRecord, Error};

/// How much of a partition is read at once.
pub(crate) const READ_BYTES: usize = 1 << 20;

/// A record's value and its place, wherever it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its value; empty for a tombstone.
    pub value: Bytes,
}

/// Every record of a topic as it stands now, partition by partition in order of offsets; none when
/// there is no such topic.
///
/// # Errors
/// [`Error::Log`] when the log cannot read.
pub async fn read_topic(log: &SharedLog, topic: &TopicName) -> Result<Vec<RawRecord>, Error> {
    let mut records = Vec::new();
    let Some(topic) = log.topic(topic) else {
        return Ok(records);
    };
    for partition in topic.partitions() {
        let bounds = log
            .bounds(&partition)
            .map_err(Error::log(format!("find the bounds of {partition}")))?;
        // A reader of a whole topic must not miss what another node has just written.
        let last = log.end(&partition).await;
        let last = last.map_err(Error::log(format!("find the end of {partition}")))?;
        let mut next = bounds.start;
        while next < last {
            let (chunk, end) = read_chunk(log, &partition, next, READ_BYTES).await?;
            records.extend(chunk);
            if end <= next {
                break;
            }
            next = end;
        }
    }
    Ok(records)
}

/// Records of one partition from `from` on, and the offset to read on from; `from` itself at the end.
pub(crate) async fn read_chunk(
    log: &SharedLog,
    partition: &TopicPartition,
    from: Offset,
    max_bytes: usize,
) -> Result<(Vec<RawRecord>, Offset), Error> {
    let act = || format!("read {partition} from {from}");
    let chunk = log
        .read(partition, from, max_bytes)
        .await
        .map_err(Error::log(act()))?;
    let mut records = Vec::new();
    for batch in chunk.batches {
        for stored in batch.records().map_err(Error::log(act()))? {
            if stored.offset >= from {
                records.push(RawRecord {
                    partition: partition.partition,
                    offset: stored.offset,
                    value: stored.record.value.unwrap_or_default(),
                });
            }
        }
    }
    Ok((records, chunk.next))
}

/// Every bill in the log as it stands now. A record that is no bill is reported and left out.
///
/// # Errors
/// [`Error::Log`] when the log cannot read.
///
/// # Panics
/// Never: the topic's name is legal.
pub async fn read_billing(log: &SharedLog) -> Result<Vec<BillingRecord>, Error> {
    let topic = TopicName::new(BillingRecord::TOPIC).expect("the name is legal");
    let records = read_topic(log, &topic).await?;
    Ok(records.iter().filter_map(parse_bill).collect())
}

/// Reads a record as a bill; one that is none is reported.
pub(crate) fn parse_bill(raw: &RawRecord) -> Option<BillingRecord> {
    serde_json::from_slice(&raw.value)
        .inspect_err(|error| {
            tracing::error!(
                topic = BillingRecord::TOPIC,
                partition = raw.partition.index(),
                offset = raw.offset.get(),
                %error,
                "a record is no bill and is left out"
            );
        })
        .ok()
}
