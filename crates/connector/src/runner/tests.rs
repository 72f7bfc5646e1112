use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{ManualClock, Timestamp};
use event_log::{MemoryLog, Offset};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::*;

const TOPIC: &str = "foreign";

/// A foreign stream that cannot be resumed at will: it delivers again whatever was not
/// acknowledged, as a queue does.
#[derive(Debug, Default)]
struct Stream {
    state: Mutex<State>,
    changed: Notify,
    acknowledged: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    events: u64,
    /// What fails next, by verb.
    failures: Vec<(Verb, Failure)>,
    opened_at: Vec<Option<u64>>,
    checks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Open,
    Next,
    Check,
    Acknowledge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Unavailable,
    Rejected,
    /// It never answers: the process may as well have died.
    Hangs,
}

#[derive(Debug)]
struct Scripted {
    id: SourceId,
    stream: Arc<Stream>,
    log: SharedLog,
    read: u64,
    batch: u64,
}

fn position(at: u64) -> SourcePosition {
    SourcePosition::new(at.to_be_bytes().to_vec())
}

fn number(position: &SourcePosition) -> u64 {
    u64::from_be_bytes(position.as_bytes()[..].try_into().unwrap())
}

impl Stream {
    fn publish(&self, events: u64) {
        self.state.lock().events += events;
        self.changed.notify_one();
    }

    fn fail(&self, verb: Verb, failure: Failure) {
        self.state.lock().failures.push((verb, failure));
    }

    async fn verb(&self, verb: Verb) -> Result<(), SourceError> {
        let failure = {
            let failures = &mut self.state.lock().failures;
            let found = failures.iter().position(|(at, _)| *at == verb);
            found.map(|index| failures.remove(index).1)
        };
        let act = format!("{verb:?} the stream");
        match failure {
            None => Ok(()),
            Some(Failure::Unavailable) => Err(SourceError::Unavailable {
                act,
                source: "cut off".into(),
            }),
            Some(Failure::Rejected) => Err(SourceError::Rejected {
                act,
                source: "forbidden".into(),
            }),
            Some(Failure::Hangs) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Source for Scripted {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.stream.verb(Verb::Open).await?;
        let opened_at = position.map(number);
        self.stream.state.lock().opened_at.push(opened_at);
        self.read = *self.stream.acknowledged.borrow();
        Ok(vec![TopicPlan {
            name: TopicName::new(TOPIC).unwrap(),
            partitions: 2,
        }])
    }

    async fn next(&mut self, _max_bytes: usize) -> Result<Batch, SourceError> {
        self.stream.verb(Verb::Next).await?;
        loop {
            let end = self.stream.state.lock().events;
            if self.read < end {
                let to = end.min(self.read + self.batch);
                let deliveries = (self.read + 1..=to).map(|at| Delivery {
                    position: position(at),
                    topic: TopicName::new(TOPIC).unwrap(),
                    placement: Placement::Exact(event_log::Partition::new(0)),
                    record: Record::new(at.to_string(), Timestamp::default()),
                });
                let batch = Batch {
                    deliveries: deliveries.collect(),
                    // Before every third event, others were lost.
                    notices: (self.read + 1..=to)
                        .filter(|at| at % 3 == 0)
                        .map(|at| Notice::gap(format!("before {at}"), position(at)))
                        .collect(),
                    notes: vec![Note {
                        key: Bytes::from_static(b"read"),
                        value: Some(to.to_string().into()),
                    }],
                    position: position(to),
                };
                self.read = to;
                return Ok(batch);
            }
            self.stream.changed.notified().await;
        }
    }

    async fn check(&mut self, quiet: Duration) -> Result<(), SourceError> {
        self.stream.verb(Verb::Check).await?;
        let mut state = self.stream.state.lock();
        state.checks += 1;
        match state.events - self.read {
            0 => Ok(()),
            waiting => Err(SourceError::Stalled {
                act: "read the stream".to_owned(),
                waiting,
                quiet,
            }),
        }
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        // Both sides of invariant C2, seen from the source.
        let durable = self.log.position(&self.id).as_ref().map(number);
        assert!(
            durable >= Some(number(position)),
            "acknowledged before it was durable"
        );
        assert!(values(&self.log).await.len() as u64 >= number(position));
        self.stream.verb(Verb::Acknowledge).await?;
        self.stream.acknowledged.send_replace(number(position));
        Ok(())
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        number(one).cmp(&number(other))
    }

    fn lag(&self) -> Option<u64> {
        Some(self.stream.state.lock().events - self.read)
    }
}

async fn values(log: &SharedLog) -> Vec<Bytes> {
    let partition = TopicName::new(TOPIC)
        .unwrap()
        .partition(event_log::Partition::new(0));
    let chunk = log
        .read(&partition, Offset::ZERO, usize::MAX)
        .await
        .unwrap();
    chunk
        .batches
        .iter()
        .flat_map(|batch| batch.records().unwrap())
        .map(|stored| stored.record.value.unwrap())
        .collect()
}

/// Everything that was noted, oldest first.
async fn noted(log: &SharedLog) -> Vec<String> {
    let memory = Memory::of(log, &SourceId::new("/scripted")).unwrap();
    let mut recollection = memory.recollect().await.unwrap();
    let mut noted = Vec::new();
    while let Some(notes) = recollection.next().await.unwrap() {
        noted.extend(notes.into_iter().map(|note| {
            assert_eq!(note.key, "read");
            String::from_utf8(note.value.unwrap().to_vec()).unwrap()
        }));
    }
    noted
}

fn numbers(to: u64) -> Vec<Bytes> {
    (1..=to).map(|at| at.to_string().into()).collect()
}

fn start(
    log: &SharedLog,
    stream: &Arc<Stream>,
    batch: u64,
) -> (CancellationToken, JoinHandle<Result<(), Error>>) {
    start_with(log, stream, batch, Settings::default())
}

/// A watchdog that looks every minute.
fn watched() -> Settings {
    Settings {
        quiet: Some(Duration::from_secs(60)),
        ..Settings::default()
    }
}

fn start_with(
    log: &SharedLog,
    stream: &Arc<Stream>,
    batch: u64,
    settings: Settings,
) -> (CancellationToken, JoinHandle<Result<(), Error>>) {
    let source = Scripted {
        id: SourceId::new("/scripted"),
        stream: Arc::clone(stream),
        log: Arc::clone(log),
        read: 0,
        batch,
    };
    let clock = Arc::new(ManualClock::starting_at(Timestamp::default()));
    let runner = Runner::new(Box::new(source), Arc::clone(log), clock, settings);
    let stop = CancellationToken::new();
    let run = tokio::spawn(runner.run(stop.clone()));
    (stop, run)
}

async fn acknowledged(stream: &Stream, at: u64) {
    let mut seen = stream.acknowledged.subscribe();
    seen.wait_for(|seen| *seen >= at).await.unwrap();
}

async fn durable(log: &SharedLog, at: u64) {
    let config = TopicConfig::new(2, Lifetime::Events);
    let topic = TopicName::new(TOPIC).unwrap();
    let topic = log.ensure_topic(&topic, config).await.unwrap();
    let partition = topic.partitions().next().unwrap();
    let mut tail = log.tail(&partition).unwrap();
    tail.wait_for(|end| end.get() >= at).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn c1_events_and_their_source_position_become_durable_together() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.publish(5);
    let (_, run) = start(&log, &stream, 5);
    acknowledged(&stream, 5).await;
    // From here on the log refuses this writer: neither half may move.
    let owner = OwnerId::new("connector//scripted");
    log.open_epoch(&owner).await.unwrap();
    stream.publish(5);
    let refused = run.await.unwrap().unwrap_err();
    assert!(
        matches!(
            &refused,
            Error::Log {
                source: event_log::Error::Fenced { .. },
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(values(&log).await, numbers(5));
    let at = log
        .position(&SourceId::new("/scripted"))
        .as_ref()
        .map(number);
    assert_eq!(at, Some(5));
    assert_eq!(*stream.acknowledged.borrow(), 5);
    assert_eq!(noted(&log).await, ["5"]);
}

#[tokio::test(start_paused = true)]
async fn c2_the_source_is_acknowledged_only_after_its_events_are_durable() {
    // The source itself checks, at every acknowledgement.
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    let (stop, run) = start(&log, &stream, 3);
    for total in [1, 2, 10] {
        stream.publish(total - *stream.acknowledged.borrow());
        acknowledged(&stream, total).await;
    }
    assert_eq!(values(&log).await, numbers(10));
    stop.cancel();
    run.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_append_and_acknowledge_leaves_no_copy() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.publish(4);
    stream.fail(Verb::Acknowledge, Failure::Hangs);
    let (_, run) = start(&log, &stream, 4);
    durable(&log, 4).await;
    run.abort();
    // The next runner loses the repeated acknowledgement too, and the stream delivers 1 to 6 again,
    // batched differently.
    stream.publish(2);
    stream.fail(Verb::Acknowledge, Failure::Unavailable);
    let (_, run) = start(&log, &stream, 5);
    acknowledged(&stream, 6).await;
    assert_eq!(values(&log).await, numbers(6));
    // What was told with them was told once, too.
    let notices = Notices::of(&*log, &SourceId::new("/scripted"));
    assert_eq!(notices.gaps.count, 2);
    let last = (Timestamp::default(), "before 6".to_owned());
    assert_eq!(notices.gaps.last, Some(last));
    assert_eq!(notices.truncations, crate::Told::default());
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_copies_alone_is_acknowledged_and_not_appended() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.publish(4);
    stream.fail(Verb::Acknowledge, Failure::Unavailable);
    stream.fail(Verb::Acknowledge, Failure::Unavailable);
    let (_, run) = start(&log, &stream, 3);
    acknowledged(&stream, 4).await;
    assert_eq!(values(&log).await, numbers(4));
    assert_eq!(noted(&log).await, ["3", "4"]);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_memory_is_compacted_and_another_topic_of_its_name_is_not_written() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.publish(1);
    let (_, run) = start(&log, &stream, 1);
    acknowledged(&stream, 1).await;
    run.abort();
    let memory = Memory::of(&log, &SourceId::new("/scripted")).unwrap();
    let topic = log.topic(memory.topic()).unwrap();
    assert_eq!(topic.config.settings.cleanup, event_log::Cleanup::Compact);
    memory.erase().await.unwrap();
    let config = TopicConfig::new(1, Lifetime::Events);
    log.create_topic(memory.topic(), config).await.unwrap();
    stream.publish(1);
    let (_, run) = start(&log, &stream, 1);
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::TopicTaken { .. }), "{error:?}");
    assert_eq!(values(&log).await, numbers(1));
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_source_is_opened_again_at_the_position_in_the_log() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.publish(2);
    let (_, run) = start(&log, &stream, 2);
    acknowledged(&stream, 2).await;
    stream.fail(Verb::Open, Failure::Unavailable);
    stream.fail(Verb::Next, Failure::Unavailable);
    stream.publish(2);
    acknowledged(&stream, 4).await;
    // The call that was waiting delivered 3 and 4; the next one fails.
    stream.publish(2);
    acknowledged(&stream, 6).await;
    assert_eq!(values(&log).await, numbers(6));
    assert_eq!(stream.state.lock().opened_at, [None, Some(4)]);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_rejected_source_ends_the_run_with_its_reason() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.fail(Verb::Open, Failure::Rejected);
    let (_, run) = start(&log, &stream, 1);
    let error = run.await.unwrap().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "Open the stream");
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_objects_is_not_written() {
    let log: SharedLog = MemoryLog::new();
    let config = TopicConfig::new(2, Lifetime::LongLived);
    let topic = TopicName::new(TOPIC).unwrap();
    log.create_topic(&topic, config).await.unwrap();
    let (_, run) = start(&log, &Arc::new(Stream::default()), 1);
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::TopicTaken { .. }), "{error:?}");
}

/// A stream of six events, the last two of which the call that waits for them never hands over.
async fn stuck(
    log: &SharedLog,
    settings: Settings,
) -> (Arc<Stream>, JoinHandle<Result<(), Error>>) {
    let stream = Arc::new(Stream::default());
    stream.publish(2);
    let (_, run) = start_with(log, &stream, 2, settings);
    acknowledged(&stream, 2).await;
    // The call that is waiting by then hands over 3 and 4.
    stream.fail(Verb::Next, Failure::Hangs);
    stream.publish(2);
    acknowledged(&stream, 4).await;
    stream.publish(2);
    (stream, run)
}

const HOURS: Duration = Duration::from_secs(3 * 3_600);

#[tokio::test(start_paused = true)]
async fn the_watchdog_opens_a_source_again_that_has_events_and_hands_over_none() {
    let log: SharedLog = MemoryLog::new();
    let (stream, run) = stuck(&log, watched()).await;
    acknowledged(&stream, 6).await;
    assert_eq!(values(&log).await, numbers(6));
    assert_eq!(stream.state.lock().opened_at, [None, Some(4)]);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn without_a_watchdog_nobody_asks() {
    let log: SharedLog = MemoryLog::new();
    let (stream, run) = stuck(&log, Settings::default()).await;
    let waited = tokio::time::timeout(HOURS, acknowledged(&stream, 6)).await;
    assert!(waited.is_err());
    assert_eq!(stream.state.lock().checks, 0);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_nothing_is_left_alone_by_the_watchdog() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.publish(2);
    let (_, run) = start_with(&log, &stream, 2, watched());
    acknowledged(&stream, 2).await;
    let waited = tokio::time::timeout(HOURS, acknowledged(&stream, 3)).await;
    assert!(waited.is_err());
    assert!(stream.state.lock().checks > 100);
    stream.publish(1);
    acknowledged(&stream, 3).await;
    assert_eq!(stream.state.lock().opened_at, [None]);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_answer_its_watchdog_is_opened_again() {
    let log: SharedLog = MemoryLog::new();
    let stream = Arc::new(Stream::default());
    stream.fail(Verb::Next, Failure::Hangs);
    stream.fail(Verb::Check, Failure::Unavailable);
    stream.publish(2);
    let (_, run) = start_with(&log, &stream, 2, watched());
    acknowledged(&stream, 2).await;
    assert_eq!(stream.state.lock().opened_at, [None, None]);
    run.abort();
}
