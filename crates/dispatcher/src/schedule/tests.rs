use std::time::Duration;

use function::Ordering;

use super::*;

pub(super) fn policy(ordering: Ordering, batch_size: usize) -> Policy {
    Policy {
        ordering,
        batch_size,
        window: Duration::ZERO,
        batch_bytes: MAX_PAYLOAD_BYTES,
        bisect: false,
        pauses: Pauses::Exponential,
        max_flights: 8,
        max_waiting: 100,
        max_flights_of_target: 4,
        max_waiting_of_target: 25,
        max_parked: 50,
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn event(offset: u64) -> Arrival {
    Arrival {
        offset: Offset::new(offset),
        key: None,
        target: None,
        bytes: 100,
        time: at(0),
        limits: Limits {
            maximum_retry_attempts: Some(1),
            maximum_age: None,
        },
        kind: ArrivalKind::Matched,
    }
}

fn keyed(offset: u64, key: u64) -> Arrival {
    Arrival {
        key: Some(key),
        ..event(offset)
    }
}

fn schedule(policy: Policy) -> Schedule {
    Schedule::resume(policy, &Checkpoint::default(), at(0)).unwrap()
}

fn fetched(arrivals: impl IntoIterator<Item = Arrival>) -> Input {
    let arrivals: Vec<_> = arrivals.into_iter().collect();
    let end = arrivals
        .last()
        .map_or(Offset::ZERO, |last| last.offset.next());
    Input::Fetched { end, arrivals }
}

fn flown(step: &Step) -> Vec<Vec<u64>> {
    let offsets = |flight: &Flight| flight.offsets.iter().map(|offset| offset.get()).collect();
    step.invoke.iter().map(offsets).collect()
}

fn offsets(of: impl IntoIterator<Item = u64>) -> Vec<Offset> {
    of.into_iter().map(Offset::new).collect()
}

/// What a settlement leaves behind.
fn checkpoint(settle: &Settle) -> Checkpoint {
    Checkpoint {
        next: settle.next,
        finished_above: settle.finished_above.clone(),
        metadata: settle.metadata.clone(),
        revision: 1,
    }
}

#[test]
fn a_partition_in_order_flies_one_batch_at_a_time() {
    let mut schedule = schedule(policy(Ordering::Partition, 2));
    let step = schedule.step(fetched((0..4).map(event)), at(0));
    assert_eq!(flown(&step), [[0, 1]]);
    let step = schedule.step(
        Input::Finished(step.invoke[0].id, Verdict::Succeeded),
        at(1),
    );
    assert_eq!(flown(&step), [[2, 3]]);
    assert_eq!(step.settle.unwrap().next, Offset::new(2));
}

#[test]
fn keys_fly_side_by_side_and_each_in_its_order() {
    let mut schedule = schedule(policy(Ordering::Key, 1));
    let arrivals = [keyed(0, 7), keyed(1, 7), keyed(2, 8), event(3)];
    let step = schedule.step(fetched(arrivals), at(0));
    assert_eq!(flown(&step), [[0], [2], [3]]);
    let step = schedule.step(Input::Finished(step.invoke[0].id, Verdict::Failed), at(1));
    assert!(
        step.invoke.is_empty(),
        "the second event of the key waits for the first one's retry"
    );
    let step = schedule.step(Input::TimeReached, at(101));
    assert_eq!(flown(&step), [[0]]);
    let step = schedule.step(
        Input::Finished(step.invoke[0].id, Verdict::Succeeded),
        at(102),
    );
    assert_eq!(flown(&step), [[1]]);
}

#[test]
fn d1_a_checkpoint_never_passes_an_unfinished_event() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let step = schedule.step(fetched((0..3).map(event)), at(0));
    let settle = schedule
        .step(
            Input::Finished(step.invoke[2].id, Verdict::Succeeded),
            at(1),
        )
        .settle
        .unwrap();
    assert_eq!(settle.next, Offset::ZERO);
    assert_eq!(settle.finished_above, [Offset::new(2)..Offset::new(3)]);
}

#[test]
fn a_batch_waits_for_its_window_unless_it_is_full() {
    let window = Policy {
        window: Duration::from_millis(500),
        batch_bytes: 350,
        ..policy(Ordering::None, 5)
    };
    let mut schedule = schedule(window);
    let step = schedule.step(fetched([event(0)]), at(0));
    assert!(step.invoke.is_empty());
    assert_eq!(schedule.wake_at(at(0)), Some(at(500)));
    let step = schedule.step(
        Input::Fetched {
            end: Offset::new(5),
            arrivals: (1..5).map(event).collect(),
        },
        at(100),
    );
    assert_eq!(
        flown(&step),
        [[0, 1, 2]],
        "three events are all that fits into the payload"
    );
    assert_eq!(schedule.wake_at(at(100)), Some(at(600)));
    assert_eq!(flown(&schedule.step(Input::TimeReached, at(600))), [[3, 4]]);
}

#[test]
fn an_event_larger_than_a_batch_goes_alone() {
    let mut schedule = schedule(policy(Ordering::None, 5));
    let large = Arrival {
        bytes: MAX_PAYLOAD_BYTES + 1,
        ..event(1)
    };
    let step = schedule.step(fetched([event(0), large, event(2)]), at(0));
    assert_eq!(flown(&step), [[0], [1], [2]]);
}

#[test]
fn retries_end_with_the_last_attempt() {
    let mut schedule = schedule(policy(Ordering::Partition, 2));
    let step = schedule.step(fetched([event(0), event(1)]), at(0));
    let step = schedule.step(Input::Finished(step.invoke[0].id, Verdict::Failed), at(1));
    assert_eq!(step.settle.unwrap().next, Offset::ZERO);
    schedule.step(Input::Settled, at(1));
    let step = schedule.step(Input::TimeReached, at(101));
    assert_eq!(step.invoke[0].attempt, 2);
    let last = step.invoke[0].id;
    let settle = schedule
        .step(Input::Finished(last, Verdict::Failed), at(102))
        .settle
        .unwrap();
    let given_up = |offset| GivenUp {
        offset: Offset::new(offset),
        attempts: 2,
        reason: Reason::RetriesExhausted,
        flight: Some(last),
    };
    assert_eq!(settle.given_up, [given_up(0), given_up(1)]);
    assert_eq!((settle.next, settle.tallies.failed), (Offset::new(2), 2));
}

#[test]
fn bisecting_finds_the_poison_and_counts_no_attempt() {
    let mut schedule = schedule(Policy {
        bisect: true,
        ..policy(Ordering::Partition, 8)
    });
    let poison = Offset::new(5);
    let mut now = 0;
    let mut calls = Vec::new();
    let mut given_up = Vec::new();
    let mut step = schedule.step(fetched((0..8).map(event)), at(now));
    while schedule.in_flight() > 0 {
        let Some(flight) = step.invoke.first().cloned() else {
            now = schedule.wake_at(at(now)).unwrap().as_millis();
            step = schedule.step(Input::TimeReached, at(now));
            continue;
        };
        calls.push(flight.offsets.len());
        let fails = flight.offsets.contains(&poison);
        let verdict = if fails {
            Verdict::Failed
        } else {
            Verdict::Succeeded
        };
        step = schedule.step(Input::Finished(flight.id, verdict), at(now));
        if let Some(settle) = step.settle.take() {
            given_up.extend(settle.given_up);
            let next = schedule.step(Input::Settled, at(now));
            given_up.extend(next.settle.into_iter().flat_map(|settle| settle.given_up));
        }
    }
    assert_eq!(calls, [8, 4, 4, 2, 1, 1, 1, 2]);
    let given_up: Vec<_> = given_up.iter().map(|given_up| given_up.offset).collect();
    assert_eq!(given_up, [poison]);
    assert_eq!(schedule.tallies().succeeded, 7);
}

#[test]
fn a_partial_failure_in_order_goes_on_at_the_lowest_failed_event() {
    let mut schedule = schedule(policy(Ordering::Partition, 4));
    let step = schedule.step(fetched((0..4).map(event)), at(0));
    let verdict = Verdict::ItemsFailed(offsets([1]));
    let step = schedule.step(Input::Finished(step.invoke[0].id, verdict), at(0));
    assert_eq!(step.settle.unwrap().next, Offset::new(1));
    assert_eq!(
        flown(&schedule.step(Input::TimeReached, at(100))),
        [[1, 2, 3]]
    );
}

#[test]
fn a_partial_failure_without_order_retries_only_what_failed() {
    let mut schedule = schedule(policy(Ordering::None, 4));
    let step = schedule.step(fetched((0..4).map(event)), at(0));
    let verdict = Verdict::ItemsFailed(offsets([1, 3]));
    let step = schedule.step(Input::Finished(step.invoke[0].id, verdict), at(0));
    assert_eq!(step.settle.unwrap().next, Offset::new(1));
    assert_eq!(flown(&schedule.step(Input::TimeReached, at(100))), [[1, 3]]);
}

#[test]
fn an_answer_that_names_strangers_fails_the_whole_batch() {
    let mut schedule = schedule(policy(Ordering::None, 2));
    let step = schedule.step(fetched((0..2).map(event)), at(0));
    let verdict = Verdict::ItemsFailed(offsets([1, 9]));
    schedule.step(Input::Finished(step.invoke[0].id, verdict), at(0));
    assert_eq!(flown(&schedule.step(Input::TimeReached, at(100))), [[0, 1]]);
}

#[test]
fn a_refusal_counts_no_attempt() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let mut step = schedule.step(fetched([event(0)]), at(0));
    let mut now = 0;
    for _ in 0..5 {
        step = schedule.step(
            Input::Finished(step.invoke[0].id, Verdict::Refused),
            at(now),
        );
        assert!(step.settle.is_none());
        now = schedule.wake_at(at(now)).unwrap().as_millis();
        step = schedule.step(Input::TimeReached, at(now));
    }
    assert_eq!(step.invoke[0].attempt, 1);
    assert_eq!(now, 100 + 200 + 400 + 800 + 1_600);
}

#[test]
fn an_event_past_its_age_expires_instead_of_flying() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let old = Arrival {
        limits: Limits {
            maximum_age: Some(Duration::from_secs(60)),
            ..Limits::default()
        },
        ..event(0)
    };
    let step = schedule.step(fetched([old]), at(60_001));
    assert!(step.invoke.is_empty());
    let settle = step.settle.unwrap();
    assert_eq!(settle.given_up[0].reason, Reason::EventAgeExceeded);
    assert_eq!((settle.next, settle.tallies.expired), (Offset::new(1), 1));
}

#[test]
fn filtered_and_unreadable_events_end_without_flying() {
    let mut schedule = schedule(policy(Ordering::Partition, 9));
    let of_kind = |offset, kind| Arrival {
        kind,
        ..event(offset)
    };
    let arrivals = [
        of_kind(0, ArrivalKind::Filtered),
        of_kind(1, ArrivalKind::Unreadable),
        event(2),
    ];
    let step = schedule.step(fetched(arrivals), at(0));
    assert_eq!(flown(&step), [[2]]);
    let settle = step.settle.unwrap();
    assert_eq!((settle.tallies.filtered, settle.tallies.failed), (1, 1));
    assert_eq!(settle.given_up[0].reason, Reason::Unreadable);
    assert_eq!(settle.next, Offset::new(2));
}

#[test]
fn offsets_without_an_event_are_passed_without_a_tally() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let input = Input::Fetched {
        end: Offset::new(10),
        arrivals: vec![event(4)],
    };
    let step = schedule.step(input, at(0));
    let settle = step.settle.unwrap();
    assert_eq!((settle.next, settle.tallies.total()), (Offset::new(4), 0));
    assert_eq!(settle.finished_above, [Offset::new(5)..Offset::new(10)]);
}

#[test]
fn what_ends_during_a_settlement_shares_the_next_one() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let step = schedule.step(fetched((0..3).map(event)), at(0));
    let ids: Vec<_> = step.invoke.iter().map(|flight| flight.id).collect();
    let first = schedule.step(Input::Finished(ids[0], Verdict::Succeeded), at(1));
    assert_eq!(first.settle.unwrap().finished, [ids[0]]);
    for id in &ids[1..] {
        let step = schedule.step(Input::Finished(*id, Verdict::Succeeded), at(1));
        assert!(step.settle.is_none());
    }
    let second = schedule.step(Input::Settled, at(2)).settle.unwrap();
    assert_eq!(second.finished, ids[1..]);
    assert!(!schedule.is_at_rest());
    schedule.step(Input::Settled, at(3));
    assert!(schedule.is_at_rest());
}

#[test]
fn m1_a_second_or_late_answer_leaves_no_second_usage() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let step = schedule.step(fetched([event(0)]), at(0));
    let id = step.invoke[0].id;
    let first = schedule.step(Input::Finished(id, Verdict::Succeeded), at(1));
    assert_eq!(first.settle.unwrap().finished, [id]);
    schedule.step(Input::Settled, at(1));
    let again = schedule.step(Input::Finished(id, Verdict::Failed), at(2));
    assert!(again.settle.is_none() && again.invoke.is_empty());
    assert_eq!(schedule.tallies().total(), 1);
}

#[test]
fn after_a_crash_what_was_seen_in_flight_is_void_and_flies_under_the_next_number() {
    let mut before = schedule(policy(Ordering::None, 1));
    let step = before.step(fetched((0..3).map(event)), at(0));
    let ids: Vec<_> = step.invoke.iter().map(|flight| flight.id).collect();
    before.step(Input::Started(ids[0]), at(0));
    before.step(Input::Started(ids[1]), at(0));
    let settle = before
        .step(Input::Finished(ids[1], Verdict::Succeeded), at(1))
        .settle
        .unwrap();

    let policy = policy(Ordering::None, 1);
    let mut after = Schedule::resume(policy, &checkpoint(&settle), at(5)).unwrap();
    let settle = after.step(Input::TimeReached, at(5)).settle.unwrap();
    let cut_off = Voided {
        offsets: ranges(offsets([0])),
        attempt: 1,
    };
    assert_eq!(settle.voided, [cut_off]);
    let step = after.step(fetched((0..3).map(event)), at(5));
    let attempts: Vec<_> = step
        .invoke
        .iter()
        .map(|flight| (flight.offsets[0].get(), flight.attempt))
        .collect();
    assert_eq!(attempts, [(0, 2), (2, 1)]);
}

#[test]
fn a_retry_survives_a_restart_with_its_count_and_its_time() {
    let listed = || Policy {
        pauses: Pauses::Listed(vec![Duration::from_secs(60)]),
        ..policy(Ordering::None, 1)
    };
    let mut before = schedule(listed());
    let step = before.step(fetched([event(0)]), at(0));
    let step = before.step(Input::Finished(step.invoke[0].id, Verdict::Failed), at(0));
    assert_eq!(
        step.released,
        offsets([0]),
        "a payload is not kept for a minute"
    );
    let settle = step.settle.unwrap();

    let mut after = Schedule::resume(listed(), &checkpoint(&settle), at(10)).unwrap();
    let step = after.step(fetched([event(0)]), at(10));
    assert!(step.invoke.is_empty());
    assert_eq!(after.wake_at(at(10)), Some(at(60_000)));
    let step = after.step(Input::TimeReached, at(60_000));
    assert_eq!(step.invoke[0].attempt, 2);
    let step = after.step(
        Input::Finished(step.invoke[0].id, Verdict::Failed),
        at(60_001),
    );
    assert_eq!(step.settle.unwrap().given_up[0].attempts, 2);
}

#[test]
fn a_retry_whose_record_is_gone_expires() {
    let mut before = schedule(policy(Ordering::None, 1));
    let step = before.step(fetched([event(0)]), at(0));
    let step = before.step(Input::Finished(step.invoke[0].id, Verdict::Failed), at(0));
    let checkpoint = checkpoint(&step.settle.unwrap());
    let policy = policy(Ordering::None, 1);
    let mut after = Schedule::resume(policy, &checkpoint, at(10)).unwrap();
    let input = Input::Fetched {
        end: Offset::new(7),
        arrivals: Vec::new(),
    };
    let settle = after.step(input, at(10)).settle.unwrap();
    assert_eq!((settle.next, settle.tallies.expired), (Offset::new(7), 1));
}

#[test]
fn cutting_off_voids_what_had_begun_and_keeps_the_number_of_what_had_not() {
    let mut before = schedule(policy(Ordering::None, 1));
    let step = before.step(fetched((0..2).map(event)), at(0));
    before.step(Input::Started(step.invoke[0].id), at(0));
    before.step(Input::StopIntake, at(1));
    assert_eq!(before.wants(), None);
    let settle = before.step(Input::CutOff, at(2)).settle.unwrap();
    assert_eq!(settle.voided.len(), 1);
    before.step(Input::Settled, at(2));
    assert!(before.is_at_rest());

    let policy = policy(Ordering::None, 1);
    let mut after = Schedule::resume(policy, &checkpoint(&settle), at(5)).unwrap();
    let step = after.step(fetched((0..2).map(event)), at(5));
    assert!(step.settle.is_none(), "nothing is void twice");
    let attempts: Vec<_> = step.invoke.iter().map(|flight| flight.attempt).collect();
    assert_eq!(attempts, [2, 1]);
}

#[test]
fn a_log_that_takes_nothing_stops_the_work() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let mut step = schedule.step(fetched((0..100).map(event)), at(0));
    let mut invoked = 0;
    while let Some(flight) = step.invoke.first().cloned() {
        invoked += 1;
        step = schedule.step(Input::Finished(flight.id, Verdict::Succeeded), at(0));
    }
    assert!(
        invoked <= 3 * 8,
        "{invoked} batches ran while nothing could be settled"
    );
}

fn aimed(offset: u64, target: u64) -> Arrival {
    Arrival {
        target: Some(Target(target)),
        ..event(offset)
    }
}

#[test]
fn a_target_without_room_is_passed_over_and_goes_on_in_its_order() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let arrivals = (0..40).map(|offset| aimed(offset, 1)).chain([aimed(40, 2)]);
    let step = schedule.step(fetched(arrivals), at(0));
    assert_eq!(flown(&step), [[0], [1], [2], [3], [40]]);
    assert_eq!(
        step.released,
        offsets(4..40),
        "what is passed over is read again when its turn comes"
    );
    assert!(schedule.wants().is_some());
    let step = schedule.step(
        Input::Finished(step.invoke[1].id, Verdict::Succeeded),
        at(1),
    );
    assert_eq!(flown(&step), [[4]]);
    let more = (41..60).map(|offset| aimed(offset, 1)).collect();
    let end = Offset::new(60);
    schedule.step(
        Input::Fetched {
            end,
            arrivals: more,
        },
        at(1),
    );
    assert_eq!(schedule.wants(), None, "what is passed over is bounded");
}

#[test]
fn retries_of_one_target_stop_its_own_events_and_no_others() {
    let mut schedule = schedule(policy(Ordering::None, 1));
    let arrivals = (0..40).map(|offset| aimed(offset, 1)).chain([aimed(40, 2)]);
    let mut step = schedule.step(fetched(arrivals), at(0));
    let mut tried = 0;
    let mut flights: Vec<_> = step.invoke.drain(..).collect();
    while let Some(at_one) = flights.iter().position(|it| it.offsets[0].get() < 40) {
        let flight = flights.remove(at_one);
        tried += 1;
        let mut step = schedule.step(Input::Finished(flight.id, Verdict::Failed), at(0));
        flights.append(&mut step.invoke);
        if step.settle.is_some() {
            flights.append(&mut schedule.step(Input::Settled, at(0)).invoke);
        }
    }
    assert!((25..30).contains(&tried), "{tried} wait for a retry");
    assert!(schedule.wants().is_some());
    let input = Input::Fetched {
        end: Offset::new(42),
        arrivals: vec![aimed(41, 2)],
    };
    assert_eq!(flown(&schedule.step(input, at(0))), [[41]]);
}

#[test]
fn a_backlog_that_expires_is_settled_in_pieces() {
    let mut schedule = schedule(policy(Ordering::None, 10));
    let old = |offset| Arrival {
        limits: Limits {
            maximum_age: Some(Duration::from_secs(60)),
            ..Limits::default()
        },
        ..event(offset)
    };
    let mut step = schedule.step(fetched((0..5_000).map(old)), at(60_001));
    let mut settled = Vec::new();
    while let Some(settle) = step.settle.take() {
        settled.push(settle.given_up.len());
        assert_eq!(schedule.unsettled.given_up.len(), 0);
        step = schedule.step(Input::Settled, at(60_001));
    }
    assert_eq!(settled, [1_000; 5]);
    assert_eq!(schedule.tallies().expired, 5_000);
}

#[test]
fn batches_that_could_fail_together_fit_into_one_settlement() {
    let mut schedule = schedule(policy(Ordering::None, 5_000));
    let step = schedule.step(fetched((0..40_000).map(event)), at(0));
    assert_eq!(step.invoke.len(), 4);
}
