//! Read, process, write: exactly once, however often the server is killed in the middle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tests::{
    Cli, Ledger, Server, consume_all, create_topic, eventually, map_topic, skip, topic_lines,
    until_settled, zip_file,
};

/// Kills in one run.
const ROUNDS: u32 = 6;
/// What one call of the client may take while the server is away.
const PATIENCE: Duration = Duration::from_secs(60);
const TOUCH: &str = "def handler(event, context):\n    return len(event['records'])\n";

type Writer = ThreadedProducer<DefaultProducerContext>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reading_processing_and_writing_happens_once_although_the_server_is_killed() -> Result<()> {
    let mut server = Server::start()?;
    let bootstrap = server.bootstrap();
    create_topic(&bootstrap, "in", 2, 1).await?;
    create_topic(&bootstrap, "out", 2, 1).await?;
    let aws = Cli::find(&server);
    match &aws {
        Some(aws) => deploy(aws)?,
        None => skip(
            "transactions",
            "the AWS CLI is not installed: no function runs",
        ),
    }
    let has_function = aws.is_some();

    let stop = Arc::new(AtomicBool::new(false));
    let source = {
        let (bootstrap, stop) = (bootstrap.clone(), Arc::clone(&stop));
        std::thread::spawn(move || publish(&bootstrap, &stop))
    };
    let worker_stop = Arc::new(AtomicBool::new(false));
    let worker = {
        let (bootstrap, stop) = (bootstrap.clone(), Arc::clone(&worker_stop));
        std::thread::spawn(move || work(&bootstrap, &stop))
    };
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(700 + u64::from(round) * 211)).await;
        server.kill()?;
        server.restart().with_context(|| format!("round {round}"))?;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.store(true, Ordering::Relaxed);
    let ledger = source.join().expect("the source does not panic")?;

    let values = |topic: &str| -> Result<Vec<String>> {
        let records = consume_all(&bootstrap, topic)?.into_iter();
        records
            .map(|record| String::from_utf8(record.value).context("text"))
            .collect()
    };
    let mut published = values("in")?;
    ledger.check(published.clone())?;
    ensure!(ledger.acknowledged() > 20, "the load driver did nothing");
    let processed = eventually("everything is processed", async || {
        let processed = values("out")?;
        Ok((processed.len() >= published.len()).then_some(processed))
    });
    let mut processed = processed.await?;
    worker_stop.store(true, Ordering::Relaxed);
    let failures = worker.join().expect("the worker does not panic")?;
    published.sort();
    processed.sort();
    assert_eq!(processed, published);
    eprintln!(
        "{} records, {ROUNDS} kills, {failures} transactions begun again",
        published.len()
    );

    if has_function {
        let committed: BTreeSet<(i32, i64)> = consume_all(&bootstrap, "out")?
            .iter()
            .map(|record| (record.partition, record.offset))
            .collect();
        until_settled(&server).await?;
        let mut seen = BTreeSet::new();
        for line in topic_lines(&server, "tidemill.usage")? {
            let event = line.value["event"].as_str().context("an event")?;
            let Some(places) = event.strip_prefix("out-") else {
                continue;
            };
            let (partition, ranges) = places.split_once('@').context("a place")?;
            for range in ranges.split(',') {
                let (from, to) = range.split_once("..").context("a range")?;
                for offset in from.parse::<i64>()?..to.parse()? {
                    let place = (partition.parse()?, offset);
                    ensure!(committed.contains(&place), "{place:?} was never committed");
                    if line.value["outcome"] == "success" {
                        ensure!(seen.insert(place), "{place:?} succeeded twice");
                    }
                }
            }
        }
        assert_eq!(seen, committed);
    }
    Ok(())
}

fn deploy(aws: &Cli<'_>) -> Result<()> {
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "f.zip", &[("app.py", TOUCH.as_bytes())])?;
    aws.create_function("touch", ("python3.11", "app.handler"), &zip, &[])?;
    map_topic(aws, "touch", "out")?;
    Ok(())
}

fn settings(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .set("retry.backoff.max.ms", "200");
    config
}

/// A new life of a transactional id. Whatever an older one left open is aborted.
fn writer(bootstrap: &str, id: &str) -> Result<Writer> {
    let mut config = settings(bootstrap);
    let writer: Writer = config
        .set("transactional.id", id)
        .set("linger.ms", "0")
        .create()?;
    writer.init_transactions(PATIENCE)?;
    Ok(writer)
}

/// A writer, asked for until there is one: the server may be away for a moment.
fn insist(bootstrap: &str, id: &str) -> Result<Writer> {
    for _ in 0..20 {
        if let Ok(writer) = writer(bootstrap, id) {
            return Ok(writer);
        }
    }
    writer(bootstrap, id)
}

fn send(writer: &Writer, topic: &str, value: &str) -> Result<()> {
    let record = BaseRecord::to(topic).key(value).payload(value);
    writer.send(record).map_err(|(error, _)| error)?;
    Ok(())
}

/// Publishes numbers, five in a transaction. Every third transaction is aborted; whatever ends in an
/// error may have happened or not.
fn publish(bootstrap: &str, stop: &AtomicBool) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let mut to = insist(bootstrap, "source")?;
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let aborts = round % 3 == 2;
        let values: Vec<_> = (0..5).map(|at| format!("{round}.{at}")).collect();
        let transaction = || -> Result<()> {
            to.begin_transaction()?;
            for value in &values {
                send(&to, "in", value)?;
            }
            to.flush(PATIENCE)?;
            if aborts {
                to.abort_transaction(PATIENCE)?;
            } else {
                to.commit_transaction(PATIENCE)?;
            }
            Ok(())
        };
        if !aborts {
            values.iter().for_each(|value| ledger.attempt(value));
        }
        match transaction() {
            Ok(()) if aborts => {}
            Ok(()) => values.iter().for_each(|value| ledger.acknowledge(value)),
            Err(_) => to = insist(bootstrap, "source")?,
        }
    }
    Ok(ledger)
}

/// Copies `in` to `out`, offsets and records in one transaction. After an error it begins again as a
/// new life of the same worker, from the offsets that are committed. Returns how often.
fn work(bootstrap: &str, stop: &AtomicBool) -> Result<u32> {
    let mut failures = 0;
    'life: while !stop.load(Ordering::Relaxed) {
        // The writer first: what is pending is decided before offsets are asked for.
        let to = insist(bootstrap, "worker")?;
        let from: BaseConsumer = settings(bootstrap)
            .set("group.id", "worker")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "300")
            .create()?;
        from.subscribe(&["in"])?;
        while !stop.load(Ordering::Relaxed) {
            match copy(&from, &to) {
                Ok(()) => {}
                Err(_) => {
                    failures += 1;
                    continue 'life;
                }
            }
        }
    }
    Ok(failures)
}

/// Copies what there is, if there is something.
fn copy(from: &BaseConsumer, to: &Writer) -> Result<()> {
    let Some(first) = from.poll(Duration::from_millis(100)) else {
        return Ok(());
    };
    let first = first?;
    to.begin_transaction()?;
    let mut reached = TopicPartitionList::new();
    let mut take = |message: &rdkafka::message::BorrowedMessage<'_>| -> Result<()> {
        let value = std::str::from_utf8(message.payload().unwrap_or_default())?;
        send(to, "out", value)?;
        let next = Offset::Offset(message.offset() + 1);
        let partition = message.partition();
        match reached.find_partition("in", partition) {
            Some(mut known) => known.set_offset(next)?,
            None => reached.add_partition_offset("in", partition, next)?,
        }
        Ok(())
    };
    take(&first)?;
    for _ in 0..9 {
        let Some(message) = from.poll(Duration::ZERO) else {
            break;
        };
        take(&message?)?;
    }
    let member = from.group_metadata().context("a member of the group")?;
    to.send_offsets_to_transaction(&reached, &member, PATIENCE)?;
    to.commit_transaction(PATIENCE)?;
    Ok(())
}
