//! What a function sees of Kafka transactions.

use std::sync::Arc;
use std::time::Duration;

use event::Record;
use event_log::{
    BrokerLog, MemoryLog, Outcome, Producer, ProducerIdentity, RecordBatch, Settlement, SharedLog,
    TransactionStep, TransactionalId,
};

use super::doubles::fine;
use super::world::{TOPIC, World, partition, trigger};

/// A producer that writes to partition 0 of the topic.
struct Writer {
    log: Arc<MemoryLog>,
    id: TransactionalId,
    producer: ProducerIdentity,
    sequence: i32,
}

impl Writer {
    async fn enroll(log: &Arc<MemoryLog>, world: &World, id: &str) -> Self {
        let id = TransactionalId::new(id);
        let step = TransactionStep::Enroll {
            timeout: Duration::from_secs(60),
            current: None,
            now: world.now(),
        };
        let producer = log.transact(&id, step).await.unwrap();
        Self {
            log: Arc::clone(log),
            id,
            producer,
            sequence: 0,
        }
    }

    async fn write(&mut self, world: &World, value: &str) {
        let step = TransactionStep::Join {
            by: self.producer,
            partitions: vec![partition(TOPIC, 0)],
            consumers: Vec::new(),
            now: world.now(),
        };
        self.log.transact(&self.id, step).await.unwrap();
        let record = Record::new(value.to_owned(), world.now());
        let batch = RecordBatch::of_one(record).from_producer(Producer {
            id: self.producer.id,
            epoch: self.producer.epoch,
            base_sequence: self.sequence,
        });
        self.sequence += 1;
        let settlement = Settlement::of(partition(TOPIC, 0), batch.in_transaction());
        world.log.commit(settlement).await.unwrap();
    }

    async fn end(&self, world: &World, outcome: Outcome) {
        let step = TransactionStep::End {
            by: self.producer,
            outcome,
            now: world.now(),
        };
        self.log.transact(&self.id, step).await.unwrap();
    }
}

/// Aborted records and control records leave holes; a checkpoint passes them, and nothing lags behind
/// for ever, not even where a partition ends in one.
#[tokio::test(start_paused = true)]
async fn a_function_sees_committed_records_alone_and_its_checkpoint_passes_the_rest() {
    let log = MemoryLog::new();
    let world = World::over(log.clone() as SharedLog);
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| trigger.batch.batch_size = 3);
    let (id, consumer) = (Some(trigger.id), trigger.consumer());
    world.functions.put_trigger(trigger);
    let life = world.start(|_| fine());

    let mut kept = Writer::enroll(&log, &world, "kept").await;
    let mut dropped = Writer::enroll(&log, &world, "dropped").await;
    for round in 0..4 {
        dropped.write(&world, "dropped").await;
        kept.write(&world, &format!("kept {round}")).await;
        dropped.end(&world, Outcome::Abort).await;
        kept.end(&world, Outcome::Commit).await;
    }
    dropped.write(&world, "dropped").await;
    dropped.end(&world, Outcome::Abort).await;
    life.until_ended(id, 4).await;
    let end = world.log.bounds(&partition(TOPIC, 0)).unwrap().end;
    life.until(|_| life.status.is_caught_up()).await;
    let reached = world.log.checkpoint(&consumer, &partition(TOPIC, 0));
    assert_eq!(reached.unwrap().next, end);
    assert_eq!(end.get(), 4 * 4 + 2);

    // What is open is nobody's business yet, and neither is what stands behind it.
    dropped.write(&world, "dropped").await;
    world.publish_numbers(0..1).await;
    kept.write(&world, "kept 4").await;
    kept.end(&world, Outcome::Commit).await;
    assert_eq!(world.log.bounds(&partition(TOPIC, 0)).unwrap().end, end);
    dropped.end(&world, Outcome::Abort).await;
    life.until_ended(id, 6).await;
    let seen: Vec<_> = world
        .calls()
        .iter()
        .flat_map(|call| call.events())
        .map(|(_, value)| value)
        .collect();
    assert_eq!(
        seen,
        ["kept 0", "kept 1", "kept 2", "kept 3", "0", "kept 4"]
    );
    life.stop().await;
}
