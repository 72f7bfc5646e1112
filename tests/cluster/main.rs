//! Several nodes on one Kafka cluster and one store: whichever is killed or hangs, the books close.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read the environment and give deadlines to real processes"
)]

mod storm;
mod table;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tests::{
    Brokers, Cli, Database, ForeignStore, Ledger, Server, charged, check_usage, create_topic, ends,
    eventually, map_topic, order_total, producer, skip, topic_lines, until_settled, zip_file,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use table::Table;

/// Rounds in the ordinary run of the suite, each with one failure of each kind; `cargo xtask crash
/// --rig cluster --rounds N` sets another number.
const ROUNDS: usize = 1;
const NODES: usize = 3;
const PARTITIONS: i32 = 6;
const TRIGGERS: usize = 2;
/// After how long a silent node is given up.
const SESSION: Duration = Duration::from_secs(6);
/// Tests take their turns: three brokers and three nodes want the machine.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Threads of a node at most. A client of the cluster has about ten, and a node up to a dozen clients;
/// a broker that is away must not gather more.
const THREADS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_settled_twice_when_brokers_and_nodes_are_killed() -> Result<()> {
    const NAME: &str = "cluster";
    let _alone = ALONE.lock().await;
    let (Some(store), Some(mut brokers)) = (ForeignStore::find().await?, Brokers::find()?) else {
        skip(NAME, "there is no Apache Kafka or no S3-compatible store");
        return Ok(());
    };
    let Some(database) = Database::find().await? else {
        skip(NAME, "there is no PostgreSQL");
        return Ok(());
    };
    brokers.until_whole().await?;
    let work = tempfile::tempdir()?;
    let settings = settings(&brokers, &store, work.path())?;
    let start = || Server::start_node(&brokers.bootstrap(), &settings);
    let mut nodes = (0..NODES).map(|_| start()).collect::<Result<Vec<_>>>()?;
    if Cli::find(&nodes[0]).is_none() {
        skip(NAME, "the AWS CLI is not installed");
        return Ok(());
    }
    deploy(&nodes, &brokers.bootstrap(), work.path()).await?;
    let table = Arc::new(Table::new(database, &nodes[2]).await?);
    let rounds = tests::crash_rounds(ROUNDS)?;

    let stop = CancellationToken::new();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let sends = tokio::spawn(send_records(
        producer(&brokers.bootstrap())?,
        Arc::clone(&ledger),
        stop.clone(),
    ));
    let fills = tokio::spawn({
        let (table, stop) = (Arc::clone(&table), stop.clone());
        async move { table.fill(&stop).await }
    });
    for round in 0..rounds {
        let victim = round % 3;
        let seconds = |n| tokio::time::sleep(Duration::from_secs(n));
        seconds(3).await;
        brokers.kill(victim)?;
        seconds(5).await;
        brokers.restart(victim)?;
        brokers.until_whole().await?;

        nodes[victim].kill()?;
        tokio::time::sleep(SESSION + Duration::from_secs(3)).await;
        nodes[victim].restart()?;

        // Long enough that others have taken its work over when it goes on where it stood.
        let zombie = (victim + 1) % NODES;
        nodes[zombie].pause()?;
        tokio::time::sleep(SESSION + Duration::from_secs(4)).await;
        nodes[zombie].resume()?;
        seconds(2).await;

        // One that is told to stop hands its work over at once.
        let leaver = (victim + 2) % NODES;
        nodes[leaver].stop()?;
        nodes[leaver].restart()?;
        let threads = nodes.iter().map(threads).collect::<Result<Vec<_>>>()?;
        eprintln!(
            "round {} of {rounds}: {} records accepted; threads of the nodes: {threads:?}",
            round + 1,
            ledger.lock().await.acknowledged()
        );
        assert!(threads.iter().all(|count| *count <= THREADS), "{threads:?}");
    }
    stop.cancel();
    sends.await??;
    fills.await??;
    let told = close_the_books(&nodes, &*ledger.lock().await).await?;
    let rows = table.check(&nodes).await?;
    eprintln!("{told}; {rows} rows of a table");
    drop(nodes);
    let table = Arc::into_inner(table).context("nobody else has the table")?;
    table.database.remove().await
}

fn threads(node: &Server) -> Result<usize> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid()?))?;
    Ok(tasks.count())
}

/// Every record settled exactly once for each trigger, usage equal to the load driver's ledger, bills
/// equal to usage, and every node says so.
async fn close_the_books(nodes: &[Server], ledger: &Ledger) -> Result<String> {
    let mut triggers = Vec::new();
    for node in nodes {
        triggers = until_settled(node).await?;
    }
    let orders = topic_lines(&nodes[0], "orders")?;
    ledger.check(orders.iter().map(|line| text(&line.value["id"])))?;
    assert!(ledger.acknowledged() > 0, "the load driver did nothing");

    let usage = topic_lines(&nodes[0], "tidemill.usage")?;
    check_usage(&usage, "orders", &ends(&orders), TRIGGERS)?;
    let succeeded: u64 = triggers
        .iter()
        .filter_map(|trigger| trigger["succeeded"].as_u64())
        .sum();
    assert_eq!(succeeded, (orders.len() * TRIGGERS) as u64, "{triggers:#?}");

    let billable = usage
        .iter()
        .filter(|line| line.value["outcome"] != "void")
        .count() as u64;
    for node in nodes {
        eventually("the bill covers all usage", async || {
            let report = node.tidemill(&["billing", "report", "--format", "json"])?;
            let report: Value = serde_json::from_str(&report)?;
            Ok((charged(&report) == billable).then_some(()))
        })
        .await?;
        node.tidemill(&["billing", "verify"])?;
    }
    let void = usage.len() as u64 - billable;
    Ok(format!(
        "{} records, {succeeded} settled by {TRIGGERS} triggers in {billable} invocations ({void} void)",
        orders.len()
    ))
}

fn settings(brokers: &Brokers, store: &ForeignStore, work: &Path) -> Result<String> {
    let keys = work.join("keys");
    std::fs::write(&keys, store.credentials())?;
    Ok(format!(
        "[functions]\nconcurrency = 12\nreserved_for_direct = 1\n\
         [log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap = {:?}\nsession_timeout_ms = {}\n{}",
        brokers.list(),
        SESSION.as_millis(),
        store.settings(&keys)
    ))
}

/// Deploys through one node and maps through another: what one has been told, all know.
async fn deploy(nodes: &[Server], bootstrap: &str, work: &Path) -> Result<()> {
    create_topic(bootstrap, "orders", PARTITIONS, 3).await?;
    let zip = zip_file(work, "t.zip", &[("bootstrap", order_total()?)])?;
    let code = format!("fileb://{}", zip.display());
    let (one, other) = (find(&nodes[0]), find(&nodes[1]));
    for name in ["totals", "again"] {
        one.run(&[
            "lambda",
            "create-function",
            "--function-name",
            name,
            "--runtime",
            "provided.al2023",
            "--handler",
            "bootstrap",
            "--role",
            "arn:aws:iam::000000000000:role/any",
            "--zip-file",
            &code,
            "--timeout",
            "30",
        ])?;
        // The topic is new to the nodes, too: each looks at the cluster's from time to time.
        let mut refused = None;
        let mapped = eventually("the other node knows function and topic", async || {
            Ok(map_topic(&other, name, "orders")
                .map_err(|error| refused = Some(error))
                .ok())
        });
        let mapped = mapped.await.map(drop);
        mapped.with_context(|| format!("the latest refusal: {refused:?}"))?;
    }
    Ok(())
}

fn find(node: &Server) -> Cli<'_> {
    Cli::find(node).expect("it was found before")
}

/// Publishes records, eight in flight; the idempotent producer retries by itself.
async fn send_records(
    producer: FutureProducer,
    ledger: Arc<Mutex<Ledger>>,
    stop: CancellationToken,
) -> Result<()> {
    let mut first = 0;
    while !stop.is_cancelled() {
        let ids: Vec<_> = (first..first + 8).map(|n| format!("r-{n}")).collect();
        first += 8;
        let sends = ids.iter().map(|id| {
            let (producer, ledger) = (&producer, &ledger);
            async move {
                ledger.lock().await.attempt(id);
                let order = json!({"id": id, "items": [{"price": 250, "quantity": 2}]}).to_string();
                let record = FutureRecord::to("orders").key(id).payload(&order);
                if producer.send(record, Duration::from_secs(30)).await.is_ok() {
                    ledger.lock().await.acknowledge(id);
                }
            }
        });
        futures::future::join_all(sends).await;
        // Load, not a flood: what is published while a node is away must be worked off by the rest.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
