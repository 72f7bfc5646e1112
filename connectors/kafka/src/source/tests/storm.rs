//! Members of a connector that come and go while records flow.
//!
//! A node reads the partitions of its share; shares move when nodes join, leave and die. What that
//! does to a partition is one of three things: its reader leaves and another begins, another begins
//! while the first does not know yet that it has lost it, or the first dies at whatever point it is.
//! Here every partition goes through all of them, again and again, over one log.

use event_log::{Lifetime, TopicConfig};
use futures::future::select_all;
use tokio::sync::{Notify, watch};

use super::*;

const PARTITIONS: i32 = 4;
/// `TIDEMILL_STORM_RECORDS` sets another number.
const RECORDS: u64 = 20_000;
/// Records between two changes.
const CALM: u64 = 400;

/// How a partition passes from one member to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It stays.
    Nothing,
    /// The member leaves, then another begins.
    HandedOver,
    /// Another begins while the member goes on.
    Usurped,
    /// The member is cut off wherever it is, and another begins.
    Killed,
}

/// One member's reader of one partition.
struct Member {
    stop: CancellationToken,
    run: JoinHandle<Result<(), connector::Error>>,
}

/// A source that says when it is opened: by then its runner has its epoch.
#[derive(Debug)]
struct Announced {
    source: KafkaSource,
    opens: Arc<Notify>,
}

#[async_trait]
impl Source for Announced {
    fn id(&self) -> &SourceId {
        self.source.id()
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.opens.notify_one();
        self.source.open(position).await
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        self.source.next(max_bytes).await
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        self.source.acknowledge(position).await
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        self.source.order(one, other)
    }

    fn lag(&self) -> Option<u64> {
        self.source.lag()
    }
}

impl Member {
    /// A member that is newer than whatever began before.
    async fn begin(cluster: &Cluster, log: &SharedLog, partition: i32) -> Self {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::default()));
        let settings = Settings {
            // A few records at once: many settlements for members to be cut off between.
            max_bytes: 64,
            ..Settings::default()
        };
        let opens = Arc::new(Notify::new());
        let source = Box::new(Announced {
            source: cluster.source(partition),
            opens: Arc::clone(&opens),
        });
        let runner = Runner::new(source, Arc::clone(log), clock, settings);
        let stop = CancellationToken::new();
        let run = tokio::spawn(runner.run(stop.clone()));
        opens.notified().await;
        Self { stop, run }
    }

    async fn leave(self) {
        self.stop.cancel();
        self.run.await.unwrap().unwrap();
    }

    /// It hears that it has lost the partition when it next writes, and not before.
    async fn hear(self) {
        let fenced = self.run.await.unwrap().unwrap_err();
        assert!(
            matches!(
                &fenced,
                connector::Error::Log {
                    source: event_log::Error::Fenced { .. },
                    ..
                }
            ),
            "{fenced:?}"
        );
    }

    async fn die(self) {
        self.run.abort();
        let _ = self.run.await;
    }
}

/// The same storm each time: a linear congruential sequence.
struct Weather(u64);

impl Weather {
    fn next(&mut self) -> Change {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        match (self.0 >> 33) % 4 {
            0 => Change::Nothing,
            1 => Change::HandedOver,
            2 => Change::Usurped,
            _ => Change::Killed,
        }
    }
}

/// Our copy of the topic.
struct Copy {
    log: SharedLog,
    topic: TopicName,
}

impl Copy {
    fn tail(&self, partition: i32) -> watch::Receiver<LogOffset> {
        let partition = Partition::new(partition.unsigned_abs());
        self.log.tail(&self.topic.partition(partition)).unwrap()
    }

    /// Waits until there are `count` records in all partitions together.
    async fn until(&self, count: u64) {
        let mut tails: Vec<_> = (0..PARTITIONS).map(|it| self.tail(it)).collect();
        loop {
            let ends = tails.iter_mut().map(|tail| tail.borrow_and_update().get());
            if ends.sum::<u64>() >= count {
                return;
            }
            let changes = tails.iter_mut().map(|tail| Box::pin(tail.changed()));
            select_all(changes).await.0.unwrap();
        }
    }
}

/// Publishes `records` to all partitions in turn, each value its place in its partition.
async fn publish(producer: FutureProducer, topic: String, records: u64) {
    let mut sent = Vec::new();
    for n in 0..records {
        let partition = i32::try_from(n % u64::from(PARTITIONS.unsigned_abs())).unwrap();
        let value = (n / u64::from(PARTITIONS.unsigned_abs())).to_string();
        let record = FutureRecord::<str, str>::to(&topic)
            .partition(partition)
            .payload(&value);
        sent.push(producer.send_result(record).unwrap());
        if sent.len() == 100 {
            for sent in sent.drain(..) {
                sent.await.unwrap().unwrap();
            }
        }
    }
    for sent in sent {
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_members_loses_nothing_and_repeats_nothing() {
    let name = "a_storm_of_members_loses_nothing_and_repeats_nothing";
    let Some(cluster) = Cluster::apache(name, PARTITIONS).await else {
        return;
    };
    let records = std::env::var_os("TIDEMILL_STORM_RECORDS");
    let records = records.map_or(RECORDS, |it| it.into_string().unwrap().parse().unwrap());
    let copy = Copy {
        log: MemoryLog::new(),
        topic: TopicName::new(format!("kafka.shop.{}", cluster.topic)).unwrap(),
    };
    let partitions = PARTITIONS.unsigned_abs();
    let config = TopicConfig::new(partitions, Lifetime::Events);
    copy.log.ensure_topic(&copy.topic, config).await.unwrap();
    let publishing = publish(cluster.producer.clone(), cluster.topic.clone(), records);
    let publishing = tokio::spawn(publishing);

    let mut weather = Weather(1);
    let mut changes = Vec::new();
    let mut members = Vec::new();
    for partition in 0..PARTITIONS {
        members.push(Member::begin(&cluster, &copy.log, partition).await);
    }
    let mut usurped = Vec::new();
    let mut reached = 0;
    while reached < records {
        reached = records.min(reached + CALM);
        copy.until(reached).await;
        for partition in 0..PARTITIONS {
            let change = weather.next();
            changes.push(change);
            // Members stand in the order of their partitions: the first one's turn, then to the end.
            let member = members.remove(0);
            match change {
                Change::Nothing => {
                    members.push(member);
                    continue;
                }
                Change::HandedOver => member.leave().await,
                Change::Usurped => usurped.push((partition, member)),
                Change::Killed => member.die().await,
            }
            members.push(Member::begin(&cluster, &copy.log, partition).await);
        }
    }
    publishing.await.unwrap();
    copy.until(records).await;

    // Who has lost a partition hears of it with the next record, at the latest.
    let mut expected = vec![records / u64::from(partitions); members.len()];
    for (partition, member) in usurped {
        let expected = &mut expected[usize::try_from(partition).unwrap()];
        while !member.run.is_finished() {
            let more = Record::new(expected.to_string(), Timestamp::default());
            cluster.send(partition, &more).await;
            *expected += 1;
            let mut tail = copy.tail(partition);
            tail.wait_for(|end| end.get() == *expected).await.unwrap();
        }
        member.hear().await;
    }
    for member in members {
        member.leave().await;
    }
    for (partition, expected) in (0..).zip(expected) {
        let copies = copied(&copy.log, &cluster, partition, expected).await;
        let values = copies.iter().map(|it| it.value.clone().unwrap());
        let places = (0..expected).map(|place| Bytes::from(place.to_string()));
        assert!(values.eq(places), "partition {partition}");
    }
    for change in [Change::HandedOver, Change::Usurped, Change::Killed] {
        let count = changes.iter().filter(|it| **it == change).count();
        assert!(count >= 20, "{count} of {change:?}");
    }
}
