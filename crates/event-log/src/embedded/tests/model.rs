//! The log on disk against the log in memory: the same requests, the same answers.

use event::{SourceId, SourcePosition};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{
    Append, CheckpointUpdate, ConsumerId, Epoch, MemoryLog, OwnerId, PositionUpdate, Producer,
    Rule, Writer,
};

const TOPICS: [&str; 3] = ["a", "b", "long"];

#[derive(Clone, Debug)]
enum Request {
    Create(usize),
    Delete(usize),
    Settle(Vec<Part>, Option<u64>),
    Forget(u8),
    OpenEpoch,
    ProducerId,
    Reopen,
}

#[derive(Clone, Debug)]
enum Part {
    Append(usize, u32, usize),
    Produce(usize, i16, i32),
    Checkpoint(u8, usize, u64, Option<u64>),
    Position(u8, u8),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => (0..3usize, 0..3u32, 1..600usize).prop_map(|(t, p, len)| Part::Append(t, p, len)),
        2 => (0..3usize, 0..2i16, 0..4i32).prop_map(|(t, epoch, at)| Part::Produce(t, epoch, at)),
        2 => (0..2u8, 0..3usize, 0..4u64, proptest::option::of(0..3u64))
            .prop_map(|(consumer, topic, next, rule)| Part::Checkpoint(consumer, topic, next, rule)),
        1 => (0..2u8, 0..9u8).prop_map(|(source, at)| Part::Position(source, at)),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        3 => (0..3usize).prop_map(Request::Create),
        1 => (0..3usize).prop_map(Request::Delete),
        12 => (vec(part(), 0..4), proptest::option::weighted(0.2, 0..3u64))
            .prop_map(|(parts, epoch)| Request::Settle(parts, epoch)),
        1 => (0..2u8).prop_map(Request::Forget),
        1 => Just(Request::OpenEpoch),
        1 => Just(Request::ProducerId),
        2 => Just(Request::Reopen),
    ]
}

fn place(topic: usize, partition: u32) -> TopicPartition {
    let topic = TopicName::new(TOPICS[topic]).unwrap();
    topic.partition(Partition::new(partition))
}

fn settlement(parts: &[Part], epoch: Option<u64>) -> Settlement {
    let mut settlement = Settlement {
        writer: epoch.map(|epoch| Writer {
            owner: OwnerId::new("o"),
            epoch: Epoch::new(epoch),
        }),
        ..Settlement::default()
    };
    for part in parts {
        match part {
            Part::Append(topic, partition, len) => settlement.appends.push(Append {
                to: place(*topic, *partition),
                batch: batch("x".repeat(*len)),
            }),
            Part::Produce(topic, epoch, base_sequence) => settlement.appends.push(Append {
                to: place(*topic, 0),
                batch: batch("p").from_producer(Producer {
                    id: 1,
                    epoch: *epoch,
                    base_sequence: *base_sequence,
                }),
            }),
            Part::Checkpoint(consumer, topic, next, rule) => {
                settlement.checkpoints.push(CheckpointUpdate {
                    consumer: ConsumerId::new(format!("c{consumer}")),
                    partition: place(*topic, 0),
                    next: Offset::new(*next),
                    finished_above: Vec::new(),
                    metadata: bytes::Bytes::new(),
                    rule: rule.map_or(Rule::Reset, |expected_revision| Rule::Advance {
                        expected_revision,
                    }),
                });
            }
            Part::Position(source, at) => settlement.positions.push(PositionUpdate {
                source: SourceId::new(format!("s{source}")),
                position: SourcePosition::new(vec![*at]),
            }),
        }
    }
    settlement
}

/// What the log answered; ids of topics differ between logs.
async fn ask(broker: &SharedBrokerLog, request: &Request) -> String {
    let log: &SharedLog = &(broker.clone() as SharedLog);
    match request {
        Request::Create(topic) => {
            let lifetime = if TOPICS[*topic] == "long" {
                Lifetime::LongLived
            } else {
                Lifetime::Events
            };
            let config = TopicConfig::new(2, lifetime);
            let name = TopicName::new(TOPICS[*topic]).unwrap();
            let created = log.create_topic(&name, config).await;
            format!("{:?}", created.map(|topic| (topic.name, topic.config)))
        }
        Request::Delete(topic) => {
            let name = TopicName::new(TOPICS[*topic]).unwrap();
            format!("{:?}", log.delete_topic(&name).await)
        }
        Request::Settle(parts, epoch) => {
            format!("{:?}", log.commit(settlement(parts, *epoch)).await)
        }
        Request::Forget(consumer) => {
            let consumer = ConsumerId::new(format!("c{consumer}"));
            format!("{:?}", log.forget_consumer(&consumer).await)
        }
        Request::OpenEpoch => format!("{:?}", log.open_epoch(&OwnerId::new("o")).await),
        Request::ProducerId => format!("{:?}", broker.producer_id().await),
        Request::Reopen => String::new(),
    }
}

/// Everything that can be seen of a log, but for the ids of topics.
async fn view(broker: &SharedBrokerLog) -> String {
    let log: &SharedLog = &(broker.clone() as SharedLog);
    let mut seen = String::new();
    for topic in log.topics() {
        for place in topic.partitions() {
            let bounds = log.bounds(&place).unwrap();
            let chunk = log.read(&place, Offset::ZERO, usize::MAX).await.unwrap();
            let tail = *log.tail(&place).unwrap().borrow();
            seen += &format!("{place} {:?} {bounds:?} {tail} {chunk:?}\n", topic.config);
        }
    }
    for consumer in log.consumers() {
        seen += &format!("{consumer} {:?}\n", log.checkpoints(&consumer));
    }
    for source in ["s0", "s1"] {
        seen += &format!("{source} {:?}\n", log.position(&SourceId::new(source)));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn the_log_on_disk_answers_like_the_log_in_memory(requests in vec(request(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let mut on_disk = Some(bench.open_broker());
            let in_memory: SharedBrokerLog = MemoryLog::new();
            for request in &requests {
                if matches!(request, Request::Reopen) {
                    drop(on_disk.take());
                    on_disk = Some(bench.open_broker());
                }
                let log = on_disk.as_ref().unwrap();
                let (disk, memory) = (ask(log, request).await, ask(&in_memory, request).await);
                assert_eq!(disk, memory, "{request:?}");
                assert_eq!(view(log).await, view(&in_memory).await, "{request:?}");
            }
        });
    }
}
