use clock::{ManualClock, Timestamp};
use event::Record;
use event_log::{EmbeddedConfig, EmbeddedLog, Lifetime, MemoryLog, RecordBatch, Settlement, Shard};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::biller::{MAX_RECORDS, ensure};
use super::crashing::CrashingLog;
use super::*;
use crate::testing::{START, usage, usages};
use crate::{
    BillingRecord, Bills, Grouping, PriceSheet, RawRecord, Report, Verdict, read_billing,
    read_topic, recount,
};

fn metering(log: &SharedLog) -> Metering {
    let clock = ManualClock::starting_at(Timestamp::from_millis(START));
    let settings = Settings {
        partitions: 3,
        ..Settings::default()
    };
    Metering::new(Arc::clone(log), Arc::new(clock), settings)
}

fn start(log: &SharedLog) -> (Progress, CancellationToken, JoinHandle<Result<(), Error>>) {
    let metering = metering(log);
    let progress = metering.progress();
    let stop = CancellationToken::new();
    let run = tokio::spawn(metering.run(stop.clone()));
    (progress, stop, run)
}

async fn append(log: &SharedLog, usage: &[UsageRecord]) {
    for usage in usage {
        publish(log, usage.to_record()).await;
    }
}

async fn publish(log: &SharedLog, record: Record) {
    let topic = ensure(log, UsageRecord::TOPIC, Lifetime::Events, 3)
        .await
        .unwrap();
    let to = topic.partition_for(record.key.as_ref().unwrap());
    let batch = RecordBatch::of_one(record);
    log.commit(Settlement::of(to, batch)).await.unwrap();
}

async fn raw(log: &SharedLog, topic: &str) -> Vec<RawRecord> {
    read_topic(log, &TopicName::new(topic).unwrap())
        .await
        .unwrap()
}

async fn verify(log: &SharedLog) -> Verdict {
    let billing = raw(log, BillingRecord::TOPIC).await;
    let usage = raw(log, UsageRecord::TOPIC).await;
    recount(billing, usage, &BTreeMap::new())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

proptest! {
    #[test]
    fn bills_equal_usage_after_a_crash_at_any_point(
        usage in usages(80),
        crashes in prop::collection::vec((0_usize..12, 0_usize..30), 0..8),
    ) {
        runtime().block_on(async {
            let log: SharedLog = MemoryLog::new();
            let mut rest = usage.as_slice();
            for (after, arriving) in crashes {
                let (arrived, later) = rest.split_at(arriving.min(rest.len()));
                rest = later;
                append(&log, arrived).await;
                let dying = CrashingLog::new(Arc::clone(&log) as SharedLog, after);
                let (progress, _, run) = start(&(Arc::clone(&dying) as SharedLog));
                // Either it dies at its crash point or it finishes what there is before.
                tokio::select! {
                    () = dying.crashed() => {}
                    done = progress.caught_up() => done.unwrap(),
                }
                run.abort();
            }
            append(&log, rest).await;
            let (progress, ..) = start(&log);
            progress.caught_up().await.unwrap();

            let verdict = verify(&log).await;
            assert!(verdict.is_exact(), "{verdict:?}");
            assert_eq!(verdict.usage_records, usage.len() as u64);
            assert_eq!((verdict.unbilled, verdict.repeated_bills), (0, 0));
        });
    }

    #[test]
    fn billing_the_same_usage_again_writes_the_same_bytes(usage in usages(40)) {
        runtime().block_on(async {
            let mut copies = Vec::new();
            for _ in 0..2 {
                let log: SharedLog = MemoryLog::new();
                append(&log, &usage).await;
                let (progress, ..) = start(&log);
                progress.caught_up().await.unwrap();
                copies.push(raw(&log, BillingRecord::TOPIC).await);
            }
            assert_eq!(copies[0], copies[1]);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn usage_waits_for_others_until_the_first_of_it_is_settle_after_old() {
    let log: SharedLog = MemoryLog::new();
    let (.., run) = start(&log);
    append(&log, &[usage(1)]).await;
    let began = Instant::now();
    let topic = ensure(&log, BillingRecord::TOPIC, Lifetime::LongLived, 3)
        .await
        .unwrap();
    let mut tail = log.tail(&topic.partition_for(b"000000000000/f")).unwrap();
    // Let metering see the first before the second arrives, late in the wait.
    tokio::time::sleep_until(began + Duration::from_millis(900)).await;
    append(&log, &[usage(2)]).await;
    tail.wait_for(|end| *end > Offset::ZERO).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let bills = read_billing(&log).await.unwrap();
    assert_eq!(bills.len(), 1);
    assert_eq!(bills[0].invocations.success, 2);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn stopping_bills_what_is_pending() {
    let log: SharedLog = MemoryLog::new();
    append(&log, &[usage(1), usage(2)]).await;
    let stop = CancellationToken::new();
    stop.cancel();
    metering(&log).run(stop).await.unwrap();
    let verdict = verify(&log).await;
    assert_eq!((verdict.usage_records, verdict.unbilled), (2, 0));
    assert!(verdict.is_exact(), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn more_than_one_settlement_holds_is_billed_in_several() {
    let log: SharedLog = MemoryLog::new();
    let topic = ensure(&log, UsageRecord::TOPIC, Lifetime::Events, 3)
        .await
        .unwrap();
    let count = MAX_RECORDS + 7;
    let records: Vec<Record> = (0..count).map(|n| usage(n).to_record()).collect();
    let to = topic.partition_for(records[0].key.as_ref().unwrap());
    for chunk in records.chunks(3_000) {
        let batch = RecordBatch::of(chunk).unwrap();
        log.commit(Settlement::of(to.clone(), batch)).await.unwrap();
    }
    let (progress, ..) = start(&log);
    progress.caught_up().await.unwrap();
    let ranges: Vec<_> = read_billing(&log)
        .await
        .unwrap()
        .iter()
        .map(|bill| (bill.usage.from.get(), bill.usage.to.get()))
        .collect();
    assert_eq!(ranges, [(0, MAX_RECORDS), (MAX_RECORDS, count)]);
    assert!(verify(&log).await.is_exact());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_no_usage_stops_no_bill_and_is_found_by_the_recount() {
    let log: SharedLog = MemoryLog::new();
    let (progress, ..) = start(&log);
    let garbled = Record::new("no usage", usage(1).ended_at).with_key("000000000000/f");
    publish(&log, garbled).await;
    progress.caught_up().await.unwrap();
    append(&log, &[usage(1)]).await;
    progress.caught_up().await.unwrap();
    let verdict = verify(&log).await;
    assert_eq!((verdict.usage_records, verdict.bills), (1, 1));
    assert_eq!(verdict.unreadable.len(), 1, "{verdict:?}");
    assert!(verdict.differences.is_empty(), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn a_newer_run_fences_an_older_one() {
    let log: SharedLog = MemoryLog::new();
    let (older, _, run) = start(&log);
    older.caught_up().await.unwrap();
    tokio::task::yield_now().await;
    let (newer, ..) = start(&log);
    tokio::task::yield_now().await;
    append(&log, &[usage(1)]).await;
    let ended = older.caught_up().await;
    assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    let fenced = run.await.unwrap().unwrap_err();
    assert!(
        matches!(
            fenced,
            Error::Log {
                source: event_log::Error::Fenced { .. },
                ..
            }
        ),
        "{fenced:?}"
    );
    newer.caught_up().await.unwrap();
    assert!(verify(&log).await.is_exact());
}

#[tokio::test(start_paused = true)]
async fn sums_that_grow_with_the_topic_are_those_of_the_whole_topic() {
    let log: SharedLog = MemoryLog::new();
    let (progress, ..) = start(&log);
    let mut bills = Bills::default();
    for n in 0..4 {
        append(&log, &[usage(2 * n), usage(2 * n + 1)]).await;
        assert_eq!(progress.unbilled().await.unwrap(), 2);
        progress.caught_up().await.unwrap();
        assert_eq!(progress.unbilled().await.unwrap(), 0);
        bills.read_on(&log).await.unwrap();
    }
    let whole = read_billing(&log).await.unwrap();
    let whole = Report::from_billing(whole, None, PriceSheet::standard());
    let grown = bills.report(None, PriceSheet::standard());
    assert_eq!(grown, whole);
    assert!(
        grown.to_csv(Grouping::Function).contains(",8,8,"),
        "{grown:?}"
    );
}

/// Flips a bit of the one place under `folder` where `text` stands.
fn damage(folder: &std::path::Path, text: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damage(&path, text);
            continue;
        }
        let mut content = std::fs::read(&path).unwrap();
        let mut windows = content.windows(text.len());
        if let Some(at) = windows.position(|window| window == text.as_bytes()) {
            content[at] ^= 1;
            std::fs::write(&path, content).unwrap();
        }
    }
}

#[tokio::test]
async fn usage_that_the_log_lost_is_passed_over_and_the_rest_is_billed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let clock = ManualClock::starting_at(Timestamp::from_millis(START));
        EmbeddedLog::open(EmbeddedConfig::new(folder.path()), Arc::new(clock)).unwrap()
    };
    let embedded = open();
    let log: SharedLog = embedded.clone();
    append(&log, &[1, 2, 3, 4, 5].map(usage)).await;
    embedded.close().await;
    drop((log, embedded));
    for lost in ["request-2", "request-4"] {
        damage(folder.path(), lost);
    }
    for opening in 1..=2 {
        let embedded = open();
        let log: SharedLog = embedded.clone();
        append(&log, &[usage(10 + opening)]).await;
        let (progress, _, run) = start(&log);
        progress.caught_up().await.unwrap();
        assert_eq!(progress.unbilled().await.unwrap(), 0);
        let bills = read_billing(&log).await.unwrap();
        let billed: u64 = bills.iter().map(|bill| bill.invocations.success).sum();
        assert_eq!(billed, 3 + opening);
        run.abort();
        let _ = run.await;
        embedded.close().await;
        drop((progress, log, embedded));
    }
}

#[tokio::test]
async fn bills_are_exact_after_the_log_on_disk_is_closed_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..3 {
        let config = EmbeddedConfig::new(folder.path());
        let clock = ManualClock::starting_at(Timestamp::from_millis(START));
        let embedded = EmbeddedLog::open(config, Arc::new(clock)).unwrap();
        let log: SharedLog = embedded.clone();
        append(&log, &[usage(2 * n), usage(2 * n + 1)]).await;
        let (progress, _, run) = start(&log);
        progress.caught_up().await.unwrap();
        let verdict = verify(&log).await;
        assert!(verdict.is_exact(), "{verdict:?}");
        assert_eq!((verdict.usage_records, verdict.unbilled), (2 * (n + 1), 0));
        run.abort();
        let _ = run.await;
        embedded.close().await;
        drop((progress, log, embedded));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_bills_only_what_it_holds_and_takes_over_where_another_stopped() {
    let memory = MemoryLog::new();
    let log: SharedLog = Arc::clone(&memory) as _;
    let of = |n| UsageRecord {
        function: format!("f{n}"),
        ..usage(n)
    };
    append(&log, &(0..30).map(of).collect::<Vec<_>>()).await;
    let topic = log.topic(&TopicName::new(UsageRecord::TOPIC).unwrap());
    let consumer = ConsumerId::new(biller::CONSUMER);
    let first = topic.unwrap().partitions().next().unwrap();
    memory.hold(Share::none().with(Shard::of(&consumer, &first)));
    let end = log.bounds(&first).unwrap().end;
    let (progress, stop, run) = start(&log);
    let mut settled = progress.settled.clone();
    let is_billed = |settled: &Settled| settled.get(&first.partition) == Some(&end);
    settled.wait_for(is_billed).await.unwrap();
    let billed: Vec<_> = log.checkpoints(&consumer);
    assert!(billed.iter().any(|(place, _)| *place == first));
    assert!(billed.len() < 3, "{billed:?}");

    memory.hold(Share::all());
    progress.caught_up().await.unwrap();
    assert_eq!(progress.unbilled().await.unwrap(), 0);
    assert_eq!(log.checkpoints(&consumer).len(), 3);
    assert!(verify(&log).await.is_exact());
    stop.cancel();
    run.await.unwrap().unwrap();
}
