//! Transactions on disk and in memory against a small sequential oracle.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{
    ConsumerId, MemoryLog, Outcome, Producer, ProducerIdentity, StagedOffset, TransactionStep,
    TransactionalId,
};

const TIMEOUT: i64 = 10;

#[derive(Clone, Debug)]
enum Act {
    Plain(usize),
    Enroll(usize),
    Write(usize, usize, usize),
    Stage(usize, u64),
    End(usize, Outcome),
    Tick(i64),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    prop_oneof![
        2 => (0..2usize).prop_map(Act::Plain),
        1 => (0..3usize).prop_map(Act::Enroll),
        8 => (0..3usize, 0..2usize, 1..3usize).prop_map(|(who, to, count)| Act::Write(who, to, count)),
        2 => (0..3usize, 0..9u64).prop_map(|(who, next)| Act::Stage(who, next)),
        4 => (0..3usize, outcome).prop_map(|(who, outcome)| Act::End(who, outcome)),
        1 => (1..8i64).prop_map(Act::Tick),
        1 => Just(Act::Reopen),
    ]
}

/// What a partition holds by the oracle's reckoning: one entry per offset.
#[derive(Clone, Debug)]
enum Cell {
    Plain(String),
    /// Of the transaction with this number.
    Inside(usize, String),
    Marker,
}

#[derive(Clone, Debug, Default)]
struct Oracle {
    partitions: [Vec<Cell>; 2],
    /// How each transaction ended, if it has.
    outcomes: Vec<Option<Outcome>>,
    /// The open transaction of each producer, and since when.
    open: BTreeMap<usize, (usize, i64)>,
    staged: BTreeMap<usize, u64>,
    checkpoint: Option<u64>,
    now: i64,
}

impl Oracle {
    fn begin(&mut self, who: usize) -> usize {
        let number = self.outcomes.len();
        let (open, now) = (&mut self.open, self.now);
        let (number, _) = *open.entry(who).or_insert((number, now));
        if number == self.outcomes.len() {
            self.outcomes.push(None);
        }
        number
    }

    fn end(&mut self, who: usize, outcome: Outcome) {
        let Some((number, _)) = self.open.remove(&who) else {
            return;
        };
        self.outcomes[number] = Some(outcome);
        for cells in &mut self.partitions {
            let mine = |cell: &Cell| matches!(cell, Cell::Inside(of, _) if *of == number);
            if cells.iter().any(mine) {
                cells.push(Cell::Marker);
            }
        }
        let staged = self.staged.remove(&who);
        if outcome == Outcome::Commit {
            self.checkpoint = staged.or(self.checkpoint);
        }
    }

    fn stable(&self, at: usize) -> usize {
        let cells = &self.partitions[at];
        let undecided =
            |cell: &Cell| matches!(cell, Cell::Inside(of, _) if self.outcomes[*of].is_none());
        cells.iter().position(undecided).unwrap_or(cells.len())
    }

    fn seen(&self, at: usize) -> Vec<String> {
        let cells = self.partitions[at][..self.stable(at)].iter();
        let seen = cells.filter_map(|cell| match cell {
            Cell::Plain(value) => Some(value.clone()),
            Cell::Inside(of, value) => {
                (self.outcomes[*of] == Some(Outcome::Commit)).then(|| value.clone())
            }
            Cell::Marker => None,
        });
        seen.collect()
    }
}

/// A log and its three producers.
struct Subject {
    log: SharedBrokerLog,
    places: Vec<TopicPartition>,
    lives: [Option<ProducerIdentity>; 3],
    sequences: BTreeMap<(usize, usize), i32>,
}

fn id(who: usize) -> TransactionalId {
    TransactionalId::new(format!("t{who}"))
}

impl Subject {
    async fn new(log: SharedBrokerLog) -> Self {
        let shared: SharedLog = log.clone();
        let places = vec![events(&shared, "a").await, events(&shared, "b").await];
        Self {
            log,
            places,
            lives: [None; 3],
            sequences: BTreeMap::new(),
        }
    }

    async fn step(&self, who: usize, step: TransactionStep) -> Option<ProducerIdentity> {
        self.log.transact(&id(who), step).await.ok()
    }

    /// What the step came to: whether it was accepted.
    async fn act(&mut self, act: &Act, value: &str, now: i64) -> bool {
        let now = Timestamp::from_millis(now);
        let shared: SharedLog = self.log.clone();
        match act {
            Act::Plain(to) => {
                let settled = append(&shared, &self.places[*to], value).await;
                settled.is_ok()
            }
            Act::Enroll(who) => {
                let timeout = Duration::from_millis(TIMEOUT.unsigned_abs());
                let current = None;
                let step = TransactionStep::Enroll {
                    timeout,
                    current,
                    now,
                };
                self.lives[*who] = self.step(*who, step).await;
                self.sequences.retain(|(of, _), _| of != who);
                self.lives[*who].is_some()
            }
            Act::Write(who, to, count) => {
                let Some(by) = self.lives[*who] else {
                    return false;
                };
                let join = TransactionStep::Join {
                    by,
                    partitions: vec![self.places[*to].clone()],
                    consumers: vec![ConsumerId::new("c")],
                    now,
                };
                if self.step(*who, join).await.is_none() {
                    return false;
                }
                let next = self.sequences.entry((*who, *to)).or_default();
                let record = Record::new(value.to_owned(), Timestamp::from_millis(1));
                let batch = RecordBatch::of(&vec![record; *count]).unwrap();
                let batch = batch.from_producer(Producer {
                    id: by.id,
                    epoch: by.epoch,
                    base_sequence: *next,
                });
                *next += i32::try_from(*count).unwrap();
                let settlement = Settlement::of(self.places[*to].clone(), batch.in_transaction());
                shared.commit(settlement).await.unwrap();
                true
            }
            Act::Stage(who, next) => {
                let Some(by) = self.lives[*who] else {
                    return false;
                };
                let step = TransactionStep::Stage {
                    by,
                    consumer: ConsumerId::new("c"),
                    offsets: vec![StagedOffset {
                        partition: self.places[0].clone(),
                        next: Offset::new(*next),
                        metadata: bytes::Bytes::new(),
                    }],
                };
                self.step(*who, step).await.is_some()
            }
            Act::End(who, outcome) => {
                let Some(by) = self.lives[*who] else {
                    return false;
                };
                let outcome = *outcome;
                let step = TransactionStep::End { by, outcome, now };
                self.step(*who, step).await.is_some()
            }
            Act::Tick(_) => {
                for who in 0..3 {
                    self.step(who, TransactionStep::Expire { now }).await;
                }
                true
            }
            Act::Reopen => true,
        }
    }

    async fn check(&self, oracle: &Oracle) {
        for (at, place) in self.places.iter().enumerate() {
            let stored = self.log.stored_bounds(place).unwrap().end.get();
            assert_eq!(stored, oracle.partitions[at].len() as u64);
            let stable = self.log.bounds(place).unwrap().end;
            assert_eq!(stable.get(), oracle.stable(at) as u64);
            assert_eq!(*self.log.tail(place).unwrap().borrow(), stable);
            let mut next = Offset::ZERO;
            let mut seen = Vec::new();
            while next < stable {
                let chunk = self.log.read(place, next, 1).await.unwrap();
                assert!(chunk.next > next && chunk.next <= stable);
                for batch in chunk.batches {
                    let records = batch.records().unwrap().into_iter();
                    let values = records.map(|it| it.record.value.unwrap());
                    seen.extend(values.map(|it| String::from_utf8(it.into()).unwrap()));
                }
                next = chunk.next;
            }
            assert_eq!(seen, oracle.seen(at), "{place}");
        }
        let checkpoint = self.log.checkpoint(&ConsumerId::new("c"), &self.places[0]);
        assert_eq!(checkpoint.map(|it| it.next.get()), oracle.checkpoint);
    }
}

/// What the oracle makes of an act, accepted by the log or not.
fn reckon(oracle: &mut Oracle, act: &Act, accepted: bool, value: &str) {
    match act {
        Act::Plain(to) => oracle.partitions[*to].push(Cell::Plain(value.to_owned())),
        Act::Enroll(who) => oracle.end(*who, Outcome::Abort),
        Act::Write(who, to, count) if accepted => {
            let number = oracle.begin(*who);
            let cell = Cell::Inside(number, value.to_owned());
            oracle.partitions[*to].extend(vec![cell; *count]);
        }
        Act::Stage(who, next) if accepted => {
            assert!(oracle.open.contains_key(who));
            oracle.staged.insert(*who, *next);
        }
        Act::End(who, outcome) if accepted => oracle.end(*who, *outcome),
        // It was refused: then nothing was open, or somebody else was meant.
        Act::End(who, _) | Act::Stage(who, _) => assert!(!oracle.open.contains_key(who)),
        Act::Write(..) | Act::Reopen => {}
        Act::Tick(by) => {
            oracle.now += by;
            let now = oracle.now;
            let over = oracle
                .open
                .iter()
                .filter(|(_, (_, since))| since + TIMEOUT <= now);
            let over: Vec<usize> = over.map(|(who, _)| *who).collect();
            for who in over {
                oracle.end(who, Outcome::Abort);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn transactions_are_as_a_sequential_oracle_has_them(acts in vec(act(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let mut on_disk = Subject::new(bench.open_broker()).await;
            let mut in_memory = Subject::new(MemoryLog::new()).await;
            let mut oracle = Oracle::default();
            for (number, act) in acts.iter().enumerate() {
                if matches!(act, Act::Reopen) {
                    on_disk.log = MemoryLog::new();
                    on_disk.log = bench.open_broker();
                }
                // Long enough that a run goes through several segments and their snapshots.
                let value = format!("{number}:{}", "x".repeat(number * 997 % 3_000));
                let now = match act {
                    Act::Tick(by) => oracle.now + by,
                    _ => oracle.now,
                };
                let accepted = on_disk.act(act, &value, now).await;
                assert_eq!(accepted, in_memory.act(act, &value, now).await, "{act:?}");
                reckon(&mut oracle, act, accepted, &value);
                on_disk.check(&oracle).await;
                in_memory.check(&oracle).await;
                assert_eq!(on_disk.log.transactions(), in_memory.log.transactions());
            }
        });
    }
}

/// Readers then find nothing, rather than an end that lies before the beginning.
#[tokio::test]
async fn retention_may_take_what_an_open_transaction_holds_back() {
    let bench = Bench::new();
    let open = || -> SharedBrokerLog {
        let config = EmbeddedConfig {
            retention: Retention {
                age: None,
                bytes: Some(48 << 10),
            },
            ..small(bench.folder.path())
        };
        EmbeddedLog::open_on(Arc::new(bench.disk.clone()), config, clock()).unwrap()
    };
    let mut subject = Subject::new(open()).await;
    let place = subject.places[0].clone();
    assert!(subject.act(&Act::Enroll(0), "", 0).await);
    assert!(subject.act(&Act::Write(0, 0, 1), "undecided", 0).await);
    for _ in 0..60 {
        assert!(subject.act(&Act::Plain(0), &"x".repeat(3_000), 0).await);
    }
    let bounds = subject.log.bounds(&place).unwrap();
    assert!(
        bounds.start > Offset::ZERO && bounds.is_empty(),
        "{bounds:?}"
    );
    let nothing = subject.log.read(&place, bounds.start, 1).await.unwrap();
    assert_eq!((nothing.batches.len(), nothing.next), (0, bounds.start));
    let stored = subject.log.stored_bounds(&place).unwrap();
    assert_eq!(stored, bounds.start..Offset::new(61));

    let abort = Act::End(0, Outcome::Abort);
    assert!(subject.act(&abort, "", 0).await);
    let decided = subject.log.bounds(&place).unwrap();
    assert_eq!(decided.end, Offset::new(62));
    let some = subject.log.read(&place, decided.start, 1).await.unwrap();
    assert_eq!(some.batches.len(), 1);
    drop(subject);
    assert_eq!(open().bounds(&place).unwrap().end, Offset::new(62));
}
