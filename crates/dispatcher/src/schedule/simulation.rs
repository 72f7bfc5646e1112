//! Seeded simulation: a schedule among crashes, delays, duplicates and lying workers, against a
//! model of the log that checks every settlement.
//!
//! Safety first: for some hundred acts anything may happen, and every invariant is checked after
//! each. Then liveness: the faults stop, and everything must drain. A seed decides everything.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use function::Ordering;

use super::tests::policy;
use super::*;

/// How many seeds a run tries.
const SEEDS: u64 = 1_500;

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// xorshift64*
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// What a worker really did with a batch.
struct Truth {
    offsets: Vec<Offset>,
    attempt: u32,
    succeeded: BTreeSet<Offset>,
}

/// What is durable.
#[derive(Default)]
struct Store {
    checkpoint: Checkpoint,
    finished: Progress,
    tallies: Tallies,
    /// Offsets that ended in a state.
    ended: BTreeSet<u64>,
    /// Attempts by place and number: whether they are void.
    usage: BTreeMap<(Vec<(u64, u64)>, u32), bool>,
}

struct World {
    random: Random,
    policy: Policy,
    now: i64,
    /// Every event ever written, by offset.
    log: Vec<Arrival>,
    /// Offsets below are gone.
    first: u64,
    store: Store,
    schedule: Schedule,
    received: BTreeSet<u64>,
    flying: BTreeMap<FlightId, Flight>,
    truths: BTreeMap<FlightId, Truth>,
    settling: Option<Settle>,
    accounted: BTreeSet<FlightId>,
    healed: bool,
    /// Kept only where traces are compared: it costs more than the rest.
    trace: Option<DefaultHasher>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ordering =
            [Ordering::Partition, Ordering::Key, Ordering::None][random.below(3) as usize];
        let policy = Policy {
            window: Duration::from_millis([0, 300][random.below(2) as usize]),
            batch_bytes: 1_000,
            bisect: random.one_in(2),
            pauses: if random.one_in(3) {
                Pauses::Listed(vec![Duration::from_secs(60), Duration::from_secs(120)])
            } else {
                Pauses::Exponential
            },
            max_flights: 1 + random.below(6) as usize,
            max_waiting: 2 + random.below(10) as usize,
            max_flights_of_target: 1 + random.below(3) as usize,
            max_waiting_of_target: 1 + random.below(4) as usize,
            max_parked: 1 + random.below(30) as usize,
            ..policy(ordering, 1 + random.below(6) as usize)
        };
        let store = Store::default();
        let schedule = Schedule::resume(policy.clone(), &store.checkpoint, at(0)).unwrap();
        Self {
            random,
            policy,
            now: 1,
            log: Vec::new(),
            first: 0,
            store,
            schedule,
            received: BTreeSet::new(),
            flying: BTreeMap::new(),
            truths: BTreeMap::new(),
            settling: None,
            accounted: BTreeSet::new(),
            healed: false,
            trace: None,
        }
    }

    fn run(mut self) -> Option<u64> {
        self.write();
        for _ in 0..150 + self.random.below(150) {
            self.act();
        }
        self.healed = true;
        for _ in 0..5_000 {
            if self.drained() {
                self.check_the_end();
                return self.trace.map(|trace| trace.finish());
            }
            self.drain();
        }
        panic!("it does not drain: {:?}", self.schedule);
    }

    fn act(&mut self) {
        match self.random.below(40) {
            0..=3 => self.write(),
            4..=11 => self.fetch(),
            12..=16 => self.start(),
            17..=27 => self.finish(),
            28..=32 => self.settled(),
            33..=36 => self.wait(),
            37 => self.crash(),
            38 if self.random.one_in(3) => self.stop_gracefully(),
            39 if self.random.one_in(4) => self.retain_less(),
            _ => self.lie(),
        }
    }

    fn drain(&mut self) {
        self.fetch();
        self.start();
        self.settled();
        if self.flying.is_empty() {
            self.wait();
        }
        self.finish();
    }

    fn drained(&self) -> bool {
        let end = self.log.len() as u64;
        self.schedule.cursor == end
            && self.schedule.in_flight() == 0
            && self.schedule.is_at_rest()
            && self.settling.is_none()
    }

    fn write(&mut self) {
        for _ in 0..1 + self.random.below(12) {
            let kind = match self.random.below(12) {
                0 | 1 => ArrivalKind::Filtered,
                2 => ArrivalKind::Unreadable,
                _ => ArrivalKind::Matched,
            };
            let limits = Limits {
                maximum_retry_attempts: [Some(0), Some(2), None][self.random.below(3) as usize],
                maximum_age: [None, Some(Duration::from_secs(90))][self.random.below(2) as usize],
            };
            let alone = self.policy.ordering == Ordering::None && self.policy.batch_size == 1;
            let target = alone.then(|| Target(self.random.below(3)));
            self.log.push(Arrival {
                target,
                offset: Offset::new(self.log.len() as u64),
                key: (!self.random.one_in(4)).then(|| self.random.below(3)),
                bytes: 50 + self.random.below(400) as usize,
                time: at(self.now),
                limits,
                kind,
            });
        }
    }

    fn fetch(&mut self) {
        let Some(from) = self.schedule.wants() else {
            return;
        };
        let from = from.get();
        let end = (from + 1 + self.random.below(20)).min(self.log.len() as u64);
        if from >= end {
            return;
        }
        let arrivals: Vec<_> = self.log[from as usize..end as usize]
            .iter()
            .filter(|arrival| arrival.offset.get() >= self.first)
            .copied()
            .collect();
        let seen = arrivals.iter().map(|arrival| arrival.offset.get());
        self.received.extend(seen);
        let gone = from..self.first.min(end);
        let recalled = self.schedule.recalled.offsets.keys();
        self.received
            .extend(recalled.filter(|offset| gone.contains(offset)));
        let end = Offset::new(end);
        self.step(Input::Fetched { end, arrivals });
    }

    fn start(&mut self) {
        if let Some(id) = self.some_flight() {
            self.step(Input::Started(id));
        }
    }

    fn finish(&mut self) {
        let Some(id) = self.some_flight() else {
            return;
        };
        let flight = self.flying.remove(&id).unwrap();
        let verdict = self.verdict(&flight);
        let succeeded = match &verdict {
            Verdict::Succeeded => flight.offsets.iter().copied().collect(),
            Verdict::ItemsFailed(failed) if failed.iter().all(|o| flight.offsets.contains(o)) => {
                // What comes behind a failed event in its lane was not dealt with.
                let spoilt = |offset: &&Offset| {
                    let own = self.lane(offset);
                    let behind = |other: &Offset| own.is_some() && self.lane(other) == own;
                    failed.contains(offset)
                        || failed.iter().any(|other| other < *offset && behind(other))
                };
                let fine = flight.offsets.iter().filter(|offset| !spoilt(offset));
                fine.copied().collect()
            }
            Verdict::ItemsFailed(_) | Verdict::Failed | Verdict::Refused | Verdict::Rejected => {
                BTreeSet::new()
            }
        };
        if !matches!(verdict, Verdict::Refused | Verdict::Rejected) {
            let truth = Truth {
                offsets: flight.offsets,
                attempt: flight.attempt,
                succeeded,
            };
            self.truths.insert(id, truth);
        }
        self.step(Input::Finished(id, verdict));
    }

    fn verdict(&mut self, flight: &Flight) -> Verdict {
        if self.healed {
            return Verdict::Succeeded;
        }
        match self.random.below(10) {
            0..=3 => Verdict::Succeeded,
            4 | 5 => Verdict::Failed,
            6 | 7 => {
                let mut failed = flight.offsets.clone();
                failed.retain(|_| self.random.one_in(3));
                if self.random.one_in(6) {
                    failed.push(Offset::new(1_000_000));
                }
                Verdict::ItemsFailed(failed)
            }
            8 => Verdict::Refused,
            _ if self.random.one_in(4) => Verdict::Rejected,
            _ => Verdict::Failed,
        }
    }

    /// A second answer to a flight that has ended, or an answer to none.
    fn lie(&mut self) {
        let id = FlightId(self.random.below(60));
        if !self.flying.contains_key(&id) {
            self.step(Input::Finished(id, Verdict::Succeeded));
        }
    }

    fn settled(&mut self) {
        if let Some(settle) = self.settling.take() {
            self.apply(settle);
            self.step(Input::Settled);
        }
    }

    fn wait(&mut self) {
        let wake = self.schedule.wake_at(at(self.now));
        match wake {
            Some(wake) if self.healed || self.random.one_in(2) => self.now = wake.as_millis(),
            Some(_) | None => self.now += self.random.below(2_000) as i64,
        }
        self.step(Input::TimeReached);
    }

    fn crash(&mut self) {
        // What was under way may have become durable, or not.
        if self.random.one_in(2)
            && let Some(settle) = self.settling.take()
        {
            self.apply(settle);
        }
        self.reopen();
    }

    fn stop_gracefully(&mut self) {
        self.step(Input::StopIntake);
        while self.random.one_in(2) && !self.flying.is_empty() {
            self.finish();
        }
        self.flying.clear();
        self.step(Input::CutOff);
        while self.settling.is_some() {
            self.settled();
        }
        assert!(self.schedule.is_at_rest());
        let ended: BTreeSet<_> = self.truths.keys().copied().collect();
        assert_eq!(
            ended, self.accounted,
            "M1: an attempt has ended without a usage record"
        );
        self.reopen();
    }

    fn reopen(&mut self) {
        self.flying.clear();
        self.truths.clear();
        self.accounted.clear();
        self.settling = None;
        self.received = self.store.ended.clone();
        let policy = self.policy.clone();
        self.schedule = Schedule::resume(policy, &self.store.checkpoint, at(self.now)).unwrap();
        self.step(Input::TimeReached);
    }

    fn retain_less(&mut self) {
        let end = self.log.len() as u64;
        self.first += self.random.below(end - self.first + 1) / 2;
    }

    fn some_flight(&mut self) -> Option<FlightId> {
        let count = self.flying.len() as u64;
        let nth = if count == 0 {
            return None;
        } else {
            self.random.below(count)
        };
        self.flying.keys().nth(nth as usize).copied()
    }

    fn step(&mut self, input: Input) {
        if let Some(trace) = &mut self.trace {
            format!("{} {input:?}", self.now).hash(trace);
        }
        let step = self.schedule.step(input, at(self.now));
        if let Some(trace) = &mut self.trace {
            format!("{step:?}").hash(trace);
        }
        for flight in step.invoke {
            self.check_order(&flight);
            self.flying.insert(flight.id, flight);
        }
        if let Some(settle) = step.settle {
            assert!(self.settling.is_none(), "one settlement at a time");
            self.settling = Some(settle);
        }
        let tallied = self.schedule.tallies().total() + self.schedule.in_flight();
        assert_eq!(
            self.received.len() as u64,
            tallied,
            "received = ended + in flight"
        );
        assert!(self.flying.len() <= self.policy.max_flights);
    }

    fn lane(&self, offset: &Offset) -> Option<Lane> {
        let arrival = &self.log[offset.get() as usize];
        Lane::of(self.policy.ordering, arrival.key)
    }

    /// D3: whatever shares a lane and comes before has ended, or flies in the same batch.
    fn check_order(&self, flight: &Flight) {
        let lane = |offset: &Offset| self.lane(offset);
        let mine: BTreeSet<_> = flight.offsets.iter().filter_map(lane).collect();
        for other in self.flying.values().flat_map(|other| &other.offsets) {
            assert!(
                lane(other).is_none_or(|lane| !mine.contains(&lane)),
                "D3: two at once"
            );
        }
        for offset in &flight.offsets {
            let Some(own) = lane(offset) else { continue };
            for before in (self.first..offset.get()).map(Offset::new) {
                let behind = lane(&before) == Some(own);
                let ended = self.schedule.progress.is_finished(before);
                assert!(
                    !behind || ended || flight.offsets.contains(&before),
                    "D3: {offset} flies before {before}"
                );
            }
        }
        assert!(flight.offsets.is_sorted());
    }

    /// Checks a settlement against what really happened, then makes it durable.
    fn apply(&mut self, settle: Settle) {
        let progress = Progress::resume(settle.next, &settle.finished_above);
        let given_up: BTreeMap<_, _> = settle
            .given_up
            .iter()
            .map(|given_up| (given_up.offset.get(), given_up.reason))
            .collect();
        assert_eq!(given_up.len(), settle.given_up.len(), "D4: given up twice");
        let mut expected = self.store.tallies;
        let mut gone = 0;
        for offset in 0..self.log.len() as u64 {
            let (was, is) = (
                self.store.finished.is_finished(Offset::new(offset)),
                progress.is_finished(Offset::new(offset)),
            );
            assert!(is || !was, "an event that had ended begins again");
            if was || !is {
                assert!(
                    !given_up.contains_key(&offset),
                    "D4: given up and not ended just now"
                );
                continue;
            }
            let succeeded = settle
                .finished
                .iter()
                .any(|id| self.truths[id].succeeded.contains(&Offset::new(offset)));
            match given_up.get(&offset) {
                Some(Reason::EventAgeExceeded) => expected.expired += 1,
                Some(Reason::RetriesExhausted | Reason::Rejected | Reason::Unreadable) => {
                    assert!(!succeeded, "D4: it succeeded and was given up");
                    expected.failed += 1;
                }
                None if succeeded => expected.succeeded += 1,
                None if self.log[offset as usize].kind == ArrivalKind::Filtered
                    && self.received.contains(&offset) =>
                {
                    expected.filtered += 1;
                }
                None => {
                    assert!(
                        offset < self.first,
                        "D1: {offset} is settled and has not ended"
                    );
                    gone += 1;
                    if self.received.contains(&offset) {
                        gone -= 1;
                        expected.expired += 1;
                    } else {
                        continue;
                    }
                }
            }
            self.store.ended.insert(offset);
        }
        assert_eq!(settle.tallies, expected, "D4: tallies, {gone} gone");
        self.account(&settle);
        self.store.finished = progress;
        self.store.tallies = settle.tallies;
        self.store.checkpoint = Checkpoint {
            next: settle.next,
            finished_above: settle.finished_above,
            metadata: settle.metadata,
            revision: self.store.checkpoint.revision + 1,
        };
    }

    /// M1: every attempt has one usage record, and no two have the same name.
    fn account(&mut self, settle: &Settle) {
        let name = |offsets: &[Range<Offset>]| -> Vec<_> {
            let numbers = |range: &Range<Offset>| (range.start.get(), range.end.get());
            offsets.iter().map(numbers).collect()
        };
        for id in &settle.finished {
            assert!(self.accounted.insert(*id), "M1: accounted for twice");
            let truth = &self.truths[id];
            let place = name(&ranges(truth.offsets.iter().copied()));
            let before = self.store.usage.insert((place, truth.attempt), false);
            assert_eq!(before, None, "M1: the name of an attempt is used twice");
        }
        for voided in &settle.voided {
            let key = (name(&voided.offsets), voided.attempt);
            let before = self.store.usage.insert(key, true);
            assert_eq!(before, None, "M1: what was accounted for is void");
        }
    }

    fn check_the_end(&self) {
        let end = self.log.len() as u64;
        assert_eq!(self.store.checkpoint.next.get(), end);
        assert!(self.store.checkpoint.finished_above.is_empty());
        let ended: BTreeSet<_> = self.truths.keys().copied().collect();
        assert_eq!(
            ended, self.accounted,
            "M1: an attempt has ended without a usage record"
        );
        let notes = Notes::decode(self.store.checkpoint.metadata.clone()).unwrap();
        assert!(notes.batches.is_empty(), "nothing is left behind");
        if self.first == 0 {
            assert_eq!(self.store.tallies.total(), end, "D4: every event has ended");
        }
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn d1_d3_d4_and_m1_hold_among_crashes_delays_and_lies_and_everything_drains() {
    for seed in 0..SEEDS {
        let world = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(world.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let traced = |seed| {
        let mut world = World::new(seed);
        world.trace = Some(DefaultHasher::new());
        world.run().unwrap()
    };
    for seed in 0..50 {
        assert_eq!(traced(seed), traced(seed), "seed {seed}");
    }
    assert_ne!(traced(1), traced(2));
}
