//! Durable appends over the wire, beside other logs on the same disk in the same run.
//!
//! Every client has a connection of its own and waits for one acknowledgement before it sends the
//! next request. Each protocol is spoken by hand with requests that were encoded beforehand, so that
//! what is compared is the servers and not their client libraries; our port and Apache Kafka get the
//! very same bytes, and so does an echo that keeps nothing: what the wire and the load itself take of
//! the two cores they share with the server. Rounds alternate, and a ratio is the median of the
//! rounds' ratios.

mod kafka;
mod nats;
mod streams;

use std::env;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::Server;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::table::{Table, median, percentile, time};

const SPAN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const RECORD_BYTES: usize = 256;

/// A log that acknowledges appends, with what it promises by doing so.
struct Peer {
    name: &'static str,
    address: String,
    protocol: Protocol,
}

#[derive(Clone, Copy)]
enum Protocol {
    Kafka,
    /// Kafka's, as far as Produce requests go.
    Echo,
    Nats,
    Streams,
}

/// Who appends what.
struct Load {
    conditions: &'static str,
    clients: usize,
    records: usize,
}

const LOADS: &[Load] = &[
    Load {
        conditions: "1 client, single records",
        clients: 1,
        records: 1,
    },
    Load {
        conditions: "256 clients, single records",
        clients: 256,
        records: 1,
    },
    Load {
        conditions: "4 clients, batches of 1,000",
        clients: 4,
        records: 1_000,
    },
];

/// One connection.
enum Client {
    Kafka(kafka::Client),
    Nats(nats::Client),
    Streams(streams::Client),
}

impl Client {
    async fn connect(peer: &Peer, index: usize, records: usize) -> Result<Self> {
        let address = &peer.address;
        Ok(match peer.protocol {
            Protocol::Kafka | Protocol::Echo => {
                Self::Kafka(kafka::Client::connect(address, index, records).await?)
            }
            Protocol::Nats => Self::Nats(nats::Client::connect(address, index, records).await?),
            Protocol::Streams => {
                Self::Streams(streams::Client::connect(address, index, records).await?)
            }
        })
    }

    /// Sends one request and waits until everything in it is acknowledged.
    async fn append(&mut self) -> Result<()> {
        match self {
            Self::Kafka(client) => client.append().await,
            Self::Nats(client) => client.append().await,
            Self::Streams(client) => client.append().await,
        }
    }
}

/// What one round of one load gave.
struct Round {
    records_per_second: f64,
    /// Sorted.
    times: Vec<Duration>,
}

/// Measures every load on every log that is there.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let server = Server::start()?;
    let (echo, _echoing) = echo().await?;
    let mut peers = vec![
        Peer {
            name: "tidemill",
            address: server.bootstrap(),
            protocol: Protocol::Kafka,
        },
        Peer {
            name: "an echo, which keeps nothing",
            address: echo,
            protocol: Protocol::Echo,
        },
    ];
    for (name, variable, protocol) in [
        (
            "durable-streams, WAL",
            "TIDEMILL_BENCH_STREAMS",
            Protocol::Streams,
        ),
        (
            "NATS JetStream, sync always",
            "TIDEMILL_BENCH_NATS",
            Protocol::Nats,
        ),
        (
            "Apache Kafka, flush=1",
            "TIDEMILL_BENCH_KAFKA_FLUSHING",
            Protocol::Kafka,
        ),
        (
            "Apache Kafka, default (no fsync)",
            "TIDEMILL_TEST_KAFKA",
            Protocol::Kafka,
        ),
    ] {
        match env::var(variable) {
            Ok(address) => peers.push(Peer {
                name,
                address,
                protocol,
            }),
            Err(_) => table.row(
                name,
                "",
                "not there".to_owned(),
                format!("{variable} is not set"),
            ),
        }
    }
    for peer in &peers {
        match peer.protocol {
            Protocol::Kafka => kafka::create_topic(&peer.address).await?,
            Protocol::Nats => nats::create_stream(&peer.address).await?,
            Protocol::Streams | Protocol::Echo => {}
        }
    }
    for load in LOADS {
        measure(table, &peers, load).await?;
    }
    Ok(())
}

/// Starts the echo and returns its address; it ends when the process is dropped.
async fn echo() -> Result<(String, Child)> {
    let program = env::current_exe()?.with_file_name("echo");
    let mut child = Command::new(program)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start the echo")?;
    let said = child.stdout.take().context("the echo's output")?;
    let address = BufReader::new(said).lines().next_line().await?;
    Ok((address.context("the echo's address")?, child))
}

async fn measure(table: &mut Table, peers: &[Peer], load: &Load) -> Result<()> {
    let mut rounds: Vec<Vec<Round>> = peers.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (peer, rounds) in peers.iter().zip(&mut rounds) {
            let round = round(peer, load)
                .await
                .with_context(|| format!("{}: {}", peer.name, load.conditions))?;
            rounds.push(round);
        }
    }
    let ours = &rounds[0];
    for (peer, theirs) in peers.iter().zip(&rounds) {
        let middle = median(theirs.iter().map(|round| round.records_per_second));
        let p50 = median(theirs.iter().map(|round| seconds(round, 50)));
        let p99 = median(theirs.iter().map(|round| seconds(round, 99)));
        let ratio = median(
            ours.iter()
                .zip(theirs)
                .map(|(ours, theirs)| ours.records_per_second / theirs.records_per_second),
        );
        table.row(
            &format!("256 B appended to {}", peer.name),
            load.conditions,
            format!(
                "{middle:.0} records/s, p50 {}, p99 {}",
                time(Duration::from_secs_f64(p50)),
                time(Duration::from_secs_f64(p99))
            ),
            format!("ours is {ratio:.2} × as fast"),
        );
    }
    Ok(())
}

fn seconds(round: &Round, percent: usize) -> f64 {
    percentile(&round.times, percent).as_secs_f64()
}

async fn round(peer: &Peer, load: &Load) -> Result<Round> {
    let mut connected = Vec::with_capacity(load.clients);
    for index in 0..load.clients {
        connected.push(Client::connect(peer, index, load.records).await?);
    }
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for mut client in connected {
        clients.spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < SPAN {
                let begun = Instant::now();
                client.append().await?;
                times.push(begun.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        times.extend(client.context("a client ended early")??);
    }
    let records = times.len() * load.records;
    let records_per_second = records as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Round {
        records_per_second,
        times,
    })
}
