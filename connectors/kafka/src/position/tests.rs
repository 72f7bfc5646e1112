use super::*;

fn at(next: i64) -> Reached {
    Reached {
        next,
        ..Reached::default()
    }
}

fn of_topic(id: &str, next: i64) -> Reached {
    Reached {
        topic: Some(id.to_owned()),
        ..at(next)
    }
}

fn record(value: &'static str) -> Record {
    Record::new(value, clock::Timestamp::from_millis(7))
}

fn now(id: Option<&str>) -> Now {
    Now {
        topic: id.map(str::to_owned),
        first: 3,
        end: 9,
    }
}

fn begun(reached: &Reached, id: Option<&str>) -> (i64, u32, Option<Gap>) {
    found(reached, Last::Untouched, id)
}

fn found(reached: &Reached, last: Last, id: Option<&str>) -> (i64, u32, Option<Gap>) {
    let begin = begin(Some(reached), last, Start::Latest, &now(id));
    (begin.reached.next, begin.reached.renewals, begin.gap)
}

#[test]
fn a_new_source_begins_where_it_is_told() {
    let begun = |start| begin(None, Last::Untouched, start, &now(Some("a"))).reached;
    assert_eq!(begun(Start::Earliest), of_topic("a", 3));
    assert_eq!(begun(Start::Latest), of_topic("a", 9));
}

#[test]
fn a_known_source_resumes_whatever_the_start() {
    assert_eq!(begun(&at(5), None), (5, 0, None));
    assert_eq!(begun(&at(9), Some("a")), (9, 0, None));
    assert_eq!(begun(&of_topic("a", 5), Some("a")), (5, 0, None));
    assert_eq!(begun(&of_topic("a", 5), None), (5, 0, None));
}

#[test]
fn an_id_is_learned_and_not_forgotten() {
    for (was, is) in [(at(5), Some("a")), (of_topic("a", 5), None)] {
        let begin = begin(Some(&was), Last::Untouched, Start::Latest, &now(is));
        assert_eq!(begin.reached.topic.as_deref(), Some("a"));
    }
}

#[test]
fn records_that_are_gone_are_counted() {
    let gap = Gap::Expired {
        lost: 2,
        resumed_at: 3,
    };
    assert_eq!(begun(&at(1), None), (3, 0, Some(gap)));
}

#[test]
fn another_topic_is_read_from_its_beginning_however_it_is_told() {
    let gap = |reached| Some(Gap::OtherTopic { reached });
    assert_eq!(begun(&of_topic("a", 5), Some("b")), (3, 1, gap(5)));
    assert_eq!(begun(&of_topic("a", 1), Some("b")), (3, 1, gap(1)));
    // Without ids: by its end, or by the last record.
    assert_eq!(begun(&at(10), None), (3, 1, gap(10)));
    assert_eq!(begun(&of_topic("a", 10), None), (3, 1, gap(10)));
    assert_eq!(found(&at(5), Last::Replaced, None), (3, 1, gap(5)));
}

#[test]
fn a_topic_that_lost_records_is_not_read_again() {
    let cut = Gap::CutOff {
        reached: 10,
        end: 9,
    };
    let topic = |next| of_topic("a", next);
    assert_eq!(begun(&topic(10), Some("a")), (9, 1, Some(cut)));
    let rewritten = Gap::Rewritten { reached: 5 };
    let found = found(&topic(5), Last::Replaced, Some("a"));
    assert_eq!(found, (5, 1, Some(rewritten)));
}

#[test]
fn whatever_was_found_later_positions_are_greater() {
    for reached in [at(1), at(5), at(10), of_topic("a", 10), of_topic("b", 5)] {
        for last in [Last::Untouched, Last::Replaced] {
            for id in [None, Some("a")] {
                let begin = begin(Some(&reached), last, Start::Earliest, &now(id));
                let moved = begin.reached.order() > reached.order();
                assert_eq!(moved, begin.gap.is_some(), "{reached} {last:?} {id:?}");
            }
        }
    }
}

#[test]
fn the_last_record_is_verified_where_it_can_still_be() {
    for (offset, verified) in [(2, false), (3, true), (8, true), (9, false)] {
        let reached = Reached {
            last: Some(Fingerprint::of(offset, &record("x"))),
            ..at(9)
        };
        let begin = begin(Some(&reached), Last::Untouched, Start::Latest, &now(None));
        assert_eq!(begin.verify.is_some(), verified, "{offset}");
    }
}

#[test]
fn positions_of_every_form_are_read() {
    let text = |text: &str| Reached::read(&SourcePosition::new(text.to_owned()));
    assert_eq!(text("5"), Ok(at(5)));
    let mut full = of_topic("1ZGz_x-A", 5);
    full.renewals = 2;
    full.last = Some(Fingerprint::of(4, &record("x")));
    for reached in [at(5), at(i64::MAX), of_topic("a", 0), full.clone()] {
        assert_eq!(Reached::read(&reached.position()), Ok(reached));
    }
    assert_eq!(
        full.position(),
        SourcePosition::new("5 2 1ZGz_x-A 4:7:39c2d1d49a60450b")
    );
    let place = Reached::read(&full.place()).unwrap();
    assert_eq!(place.order(), full.order());
    for garbage in ["", "-1", "1.5", "x", "5 2", "5 2 a", "5 2 a b", "5 2 a - -"] {
        assert_eq!(text(garbage), Err(Unreadable), "{garbage}");
    }
}

#[test]
fn records_are_told_apart_by_time_key_and_value() {
    let mut records = vec![record("x"), record("y")];
    records.push(record("x").with_key("k"));
    records.push(record("").with_key("x"));
    records.push(Record::new("x", clock::Timestamp::from_millis(8)));
    let mut tombstone = record("x").with_key("x");
    tombstone.value = None;
    records.push(tombstone);
    for (n, one) in records.iter().enumerate() {
        for (m, other) in records.iter().enumerate() {
            let same = Fingerprint::of(1, one) == Fingerprint::of(1, other);
            assert_eq!(same, n == m, "{one:?} {other:?}");
        }
    }
}
