//! The process is killed under load, again and again; the books must close.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tests::{
    Cli, Ledger, Server, charged, check_usage, ends, eventually, map_topic, order_total, producer,
    skip, topic_lines, until_settled, zip_file,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Kills in the ordinary run of the suite; `cargo xtask crash --rounds N` sets another number.
const ROUNDS: usize = 6;
const TOUCH: &str = "def handler(event, context):\n    return len(event['Records'])\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_or_billed_twice_when_the_server_is_killed() -> Result<()> {
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("crash", "the AWS CLI is not installed");
        return Ok(());
    };
    deploy(&aws)?;
    let rounds = tests::crash_rounds(ROUNDS)?;

    let stop = CancellationToken::new();
    let objects = Arc::new(Mutex::new(Ledger::default()));
    let records = Arc::new(Mutex::new(Ledger::default()));
    let puts = tokio::spawn(put_objects(
        tests::s3(&server)?,
        Arc::clone(&objects),
        stop.clone(),
    ));
    let sends = tokio::spawn(send_records(
        producer(&server.bootstrap())?,
        Arc::clone(&records),
        stop.clone(),
    ));
    let mut moments = Moments(0x5eed);
    for round in 1..=rounds {
        tokio::time::sleep(moments.next()).await;
        server.kill()?;
        server.restart().with_context(|| format!("round {round}"))?;
        if round % 10 == 0 || round == rounds {
            eprintln!(
                "{round} of {rounds} kills: {} objects and {} records accepted",
                objects.lock().await.acknowledged(),
                records.lock().await.acknowledged()
            );
        }
    }
    // A server that stays up takes the last of the load.
    tokio::time::sleep(moments.next()).await;
    stop.cancel();
    puts.await??;
    sends.await??;

    let triggers = until_settled(&server).await?;
    let events = topic_lines(&server, "bucket.inbox")?;
    let orders = topic_lines(&server, "orders")?;
    objects
        .lock()
        .await
        .check(events.iter().map(|line| key_of(&line.value)))?;
    records
        .lock()
        .await
        .check(orders.iter().map(|line| id_of(&line.value)))?;
    let (objects, records) = (
        objects.lock().await.acknowledged(),
        records.lock().await.acknowledged(),
    );
    assert!(objects > 0 && records > 0, "the load driver did nothing");

    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, "bucket.inbox", &ends(&events), 1)?;
    check_usage(&usage, "orders", &ends(&orders), 1)?;
    let succeeded: u64 = triggers
        .iter()
        .filter_map(|t| t["succeeded"].as_u64())
        .sum();
    assert_eq!(
        succeeded,
        (events.len() + orders.len()) as u64,
        "{triggers:#?}"
    );

    let billable = usage
        .iter()
        .filter(|line| line.value["outcome"] != "void")
        .count() as u64;
    eventually("the bill covers all usage", async || {
        let report: Value =
            serde_json::from_str(&server.tidemill(&["billing", "report", "--format", "json"])?)?;
        Ok((charged(&report) == billable).then_some(()))
    })
    .await?;
    server.tidemill(&["billing", "verify"])?;
    Ok(())
}

fn deploy(aws: &Cli<'_>) -> Result<()> {
    let work = tempfile::tempdir()?;
    let python = zip_file(work.path(), "p.zip", &[("app.py", TOUCH.as_bytes())])?;
    let rust = zip_file(work.path(), "r.zip", &[("bootstrap", order_total()?)])?;
    for (name, runtime, handler, zip) in [
        ("files", "python3.11", "app.handler", python),
        ("totals", "provided.al2023", "bootstrap", rust),
    ] {
        aws.create_function(name, (runtime, handler), &zip, &["--timeout", "30"])?;
    }
    aws.run(&["s3", "mb", "s3://inbox"])?;
    aws.notify("inbox", "files", &["s3:ObjectCreated:*"])?;
    map_topic(aws, "totals", "orders")?;
    Ok(())
}

/// Puts one object after another, each under a new key: an attempt that failed is not repeated, so
/// that every event has exactly one cause.
async fn put_objects(
    s3: aws_sdk_s3::Client,
    ledger: Arc<Mutex<Ledger>>,
    stop: CancellationToken,
) -> Result<()> {
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let key = format!("o-{number}");
        ledger.lock().await.attempt(&key);
        let config = aws_sdk_s3::config::Builder::new()
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled());
        let put = s3
            .put_object()
            .bucket("inbox")
            .key(&key)
            .body(ByteStream::from(vec![b'x'; 100 + number % 90_000]))
            .customize()
            .config_override(config)
            .send()
            .await;
        match put {
            Ok(_) => ledger.lock().await.acknowledge(&key),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    Ok(())
}

/// Publishes records, eight in flight; the idempotent producer retries by itself.
async fn send_records(
    producer: FutureProducer,
    ledger: Arc<Mutex<Ledger>>,
    stop: CancellationToken,
) -> Result<()> {
    let mut first = 0;
    while !stop.is_cancelled() {
        let ids: Vec<_> = (first..first + 8)
            .map(|number| format!("r-{number}"))
            .collect();
        first += 8;
        let sends = ids.iter().map(|id| {
            let producer = &producer;
            let ledger = &ledger;
            async move {
                ledger.lock().await.attempt(id);
                let payload =
                    json!({"id": id, "items": [{"price": 250, "quantity": 2}]}).to_string();
                let record = FutureRecord::to("orders").key(id).payload(&payload);
                if producer.send(record, Duration::from_secs(30)).await.is_ok() {
                    ledger.lock().await.acknowledge(id);
                }
            }
        });
        futures::future::join_all(sends).await;
    }
    Ok(())
}

fn key_of(event: &Value) -> String {
    event["s3"]["object"]["key"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn id_of(order: &Value) -> String {
    order["id"].as_str().unwrap_or_default().to_owned()
}

/// Random moments between kills, from a fixed seed: xorshift64.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(30 + self.0 % 1_500)
    }
}
