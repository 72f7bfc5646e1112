//! A start without reading what it need not read, and the same log whatever became of the catalogs.

use super::*;

/// Several segments with the records of three partitions, some of which stop early or begin late.
async fn filled(bench: &Bench) -> Vec<TopicPartition> {
    let log = bench.open();
    let places = [
        events(&log, "a").await,
        events(&log, "early").await,
        events(&log, "late").await,
    ];
    let mut number = 0;
    while bench.segments().len() < 5 {
        number += 1;
        let segments = bench.segments().len();
        let place = match number % 3 {
            1 if segments < 3 => &places[1],
            2 if segments >= 3 => &places[2],
            _ => &places[0],
        };
        let value = format!("{number}:{}", "x".repeat(number * 331 % 2_000));
        let at = Timestamp::from_millis(1_000 + number as i64);
        let batch = RecordBatch::of_one(Record::new(value, at));
        log.commit(Settlement::of(place.clone(), batch))
            .await
            .unwrap();
    }
    log.delete_records(&places[0], Offset::new(3))
        .await
        .unwrap();
    places.into()
}

/// Everything that readers can ask of these partitions.
async fn view(log: &SharedLog, places: &[TopicPartition]) -> String {
    let mut seen = String::new();
    for place in places {
        seen += &format!(
            "{:?} {:?}\n",
            log.bounds(place).unwrap(),
            read(log, place).await
        );
        for time in (990..1_100).step_by(7) {
            let found = log.offset_at(place, Timestamp::from_millis(time)).await;
            seen += &format!("{time}: {:?}\n", found.unwrap());
        }
    }
    seen
}

#[tokio::test]
async fn a_start_reads_only_the_last_segment_through() {
    let bench = Bench::new();
    let places = filled(&bench).await;
    let log = bench.open();
    let expected = view(&log, &places).await;
    drop(log);
    bench.disk.forget_reads();
    let log = bench.open();
    assert_eq!(bench.disk.read_through(".seg"), [bench.last_segment()]);
    assert_eq!(view(&log, &places).await, expected);
}

#[tokio::test]
async fn a_missing_catalog_is_made_again_and_the_view_is_the_same() {
    let bench = Bench::new();
    let places = filled(&bench).await;
    let expected = view(&bench.open(), &places).await;
    let catalogs = bench.disk.files(".idx");
    assert_eq!(catalogs.len(), 4);
    for missing in 0..1 << catalogs.len() {
        let bench = bench.copy();
        for (index, catalog) in catalogs.iter().enumerate() {
            if missing & (1 << index) != 0 {
                bench.disk.delete(catalog);
            }
        }
        assert_eq!(view(&bench.open(), &places).await, expected);
        assert_eq!(bench.disk.files(".idx"), catalogs);
        bench.disk.forget_reads();
        assert_eq!(view(&bench.open(), &places).await, expected);
        assert_eq!(bench.disk.read_through(".seg").len(), 1);
    }
}

#[tokio::test]
async fn no_flipped_bit_in_a_catalog_changes_the_view() {
    let bench = Bench::new();
    let places = filled(&bench).await;
    let expected = view(&bench.open(), &places).await;
    let catalog = bench.disk.files(".idx").swap_remove(1);
    for bit in (0..bench.disk.content(&catalog).len() * 8).step_by(13) {
        let bench = bench.copy();
        bench.disk.tamper(&catalog, |content| {
            content[bit / 8] ^= 1 << (bit % 8);
        });
        assert_eq!(view(&bench.open(), &places).await, expected, "bit {bit}");
    }
}

#[tokio::test]
async fn a_torn_catalog_and_one_of_another_segment_are_not_believed() {
    let bench = Bench::new();
    let places = filled(&bench).await;
    let expected = view(&bench.open(), &places).await;
    let catalogs = bench.disk.files(".idx");
    let other = bench.disk.content(&catalogs[2]);
    bench
        .disk
        .tamper(&catalogs[0], |content| content.truncate(200));
    bench.disk.tamper(&catalogs[1], |content| *content = other);
    assert_eq!(view(&bench.open(), &places).await, expected);
}

#[tokio::test]
async fn a_catalog_that_rots_while_the_log_is_open_changes_nothing() {
    let bench = Bench::new();
    let places = filled(&bench).await;
    let expected = view(&bench.open(), &places).await;
    let log = bench.open();
    for catalog in bench.disk.files(".idx") {
        bench.disk.tamper(&catalog, |content| content.fill(0xa5));
    }
    assert_eq!(view(&log, &places).await, expected);
}

#[tokio::test]
async fn without_a_sound_last_snapshot_the_segment_before_tells_the_state() {
    let bench = Bench::new();
    let places = filled(&bench).await;
    let log = bench.open();
    let mut expected = Vec::new();
    for place in &places {
        expected.push((log.bounds(place).unwrap().start, read(&log, place).await));
    }
    drop(log);
    let segment = bench.last_segment();
    bench
        .disk
        .tamper(&segment, |content| content[1024 + 50] ^= 1);
    let log = bench.open();
    for (place, (start, values)) in places.iter().zip(expected) {
        assert_eq!(log.bounds(place).unwrap().start, start);
        // Offsets that the damaged frame may have used follow.
        assert_eq!(read(&log, place).await[..values.len()], values);
    }
}
