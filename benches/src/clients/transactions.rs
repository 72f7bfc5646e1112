//! Transactions of one producer, one after the other, small and large.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::{PATIENCE, ROUNDS, everywhere, median};
use crate::table::Table;

/// Records in each transaction, and transactions in each round.
const SIZES: [(usize, usize); 3] = [(1, 400), (100, 200), (1_000, 50)];
const BYTES: usize = 100;

/// Takes deliveries as they come.
type Transactional = ThreadedProducer<DefaultProducerContext>;

/// Measures our port and Kafka, in turns.
pub(super) fn run(table: &mut Table, ours: &str, theirs: &str) -> Result<()> {
    for (records, times) in SIZES {
        let mut rates = [Vec::new(), Vec::new()];
        for turn in 0..ROUNDS {
            for (rates, bootstrap) in rates.iter_mut().zip([ours, theirs]) {
                let topic = format!("transactions-{records}-{turn}");
                rates.push(round(bootstrap, &topic, records, times)?);
            }
        }
        let [ours, theirs] = rates;
        let pairs = ours.iter().zip(&theirs);
        let ratio = median(pairs.map(|(ours, theirs)| ours / theirs));
        for (name, rates) in [("tidemill", ours), ("Apache Kafka", theirs)] {
            let rate = median(rates);
            table.row(
                &format!("transactions, {name}"),
                &format!("{records} records of {BYTES} B in each"),
                format!(
                    "{rate:.0} transactions/s, {:.0} records/s",
                    rate * records as f64
                ),
                format!("ours is {ratio:.2} × as fast"),
            );
        }
    }
    Ok(())
}

/// Transactions in a second.
fn round(bootstrap: &str, topic: &str, records: usize, times: usize) -> Result<f64> {
    let producer: Transactional = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", topic)
        .set("linger.ms", "1")
        .create()?;
    producer.init_transactions(PATIENCE)?;
    let payload = vec![b'x'; BYTES];
    // The first one makes the topic; that is not what is measured.
    transaction(&producer, topic, &payload, 1)?;
    let begun = Instant::now();
    for _ in 0..times {
        transaction(&producer, topic, &payload, records)?;
    }
    let rate = times as f64 / begun.elapsed().as_secs_f64();
    let found = committed(bootstrap, topic, times * records + 1)?;
    ensure!(
        found == times * records + 1,
        "{found} records were committed"
    );
    Ok(rate)
}

fn transaction(
    producer: &Transactional,
    topic: &str,
    payload: &[u8],
    records: usize,
) -> Result<()> {
    producer.begin_transaction()?;
    for _ in 0..records {
        let record = BaseRecord::<(), _>::to(topic).payload(payload);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    // A commit waits for deliveries, but looks for them every 100 ms only.
    while producer.in_flight_count() > 0 {
        std::thread::yield_now();
    }
    producer
        .commit_transaction(PATIENCE)
        .context("commit a transaction")
}

/// How many records a reader of committed ones gets, up to `expected`.
fn committed(bootstrap: &str, topic: &str, expected: usize) -> Result<usize> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "none")
        .set("isolation.level", "read_committed")
        .create()?;
    consumer.assign(&everywhere(&consumer, topic)?)?;
    let mut found = 0;
    while found < expected {
        consumer.poll(PATIENCE).context("a record is missing")??;
        found += 1;
    }
    Ok(found)
}
