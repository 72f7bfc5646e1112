//! Objects into our S3 port and into another S3 server on the same disk, by the same client.
//!
//! Ours acknowledges an object when it and its event are on the disk. The other one, a gateway over a
//! folder, leaves that to the operating system and has no events. Rounds alternate between the servers; a
//! ratio is the median of the rounds' ratios.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::future::try_join_all;
use tests::{ForeignStore, Server};

use crate::table::{Table, median};

const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_secs(3);
const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 20;
/// How many large objects go one after the other.
const LARGE_OBJECTS: usize = 4;

/// What one round on one server gave.
struct Round {
    /// Small PUTs in a second, one client and then many.
    puts: [f64; CLIENTS.len()],
    /// Bytes of large objects in a second, in and out.
    written: f64,
    read: f64,
}

const CLIENTS: [usize; 2] = [1, 64];

/// Measures both servers.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let server = Server::start()?;
    let store = ForeignStore::find()
        .await?
        .context("TIDEMILL_TEST_S3 is not set")?;
    let (ours, theirs) = (tests::s3(&server)?, store.client());
    let mut rounds = Vec::new();
    for turn in 0..ROUNDS {
        let bucket = format!("bench-{}-{turn}", std::process::id());
        rounds.push((round(&ours, &bucket).await?, round(&theirs, &bucket).await?));
    }
    let mut rates = |what: &str, conditions: &str, unit: &str, rate: &dyn Fn(&Round) -> f64| {
        let ratio = median(rounds.iter().map(|(a, b)| rate(a) / rate(b)));
        let ours = median(rounds.iter().map(|(ours, _)| rate(ours)));
        let theirs = median(rounds.iter().map(|(_, theirs)| rate(theirs)));
        table.row(
            what,
            conditions,
            format!("{ours:.0} {unit}"),
            format!("{ratio:.2} × Versity S3 Gateway without sync ({theirs:.0})"),
        );
    };
    for (index, clients) in CLIENTS.into_iter().enumerate() {
        let conditions = format!("4 KiB objects, {clients} at once");
        rates("PUT", &conditions, "objects/s", &|round| round.puts[index]);
    }
    let conditions = "64 MiB objects, one at a time";
    rates("PUT", conditions, "MB/s", &|round| round.written / 1e6);
    rates("GET", conditions, "MB/s", &|round| round.read / 1e6);
    Ok(())
}

async fn round(s3: &Client, bucket: &str) -> Result<Round> {
    s3.create_bucket().bucket(bucket).send().await?;
    let mut puts = [0.0; CLIENTS.len()];
    for (rate, clients) in puts.iter_mut().zip(CLIENTS) {
        let begun = Instant::now();
        let counts = (0..clients).map(|client| small(s3, bucket, clients, client, begun));
        let count: usize = try_join_all(counts).await?.into_iter().sum();
        *rate = count as f64 / begun.elapsed().as_secs_f64();
    }
    let body = Bytes::from(vec![b'x'; LARGE]);
    let begun = Instant::now();
    for number in 0..LARGE_OBJECTS {
        let put = s3
            .put_object()
            .bucket(bucket)
            .key(format!("large-{number}"));
        put.body(ByteStream::from(body.clone())).send().await?;
    }
    let bytes = (LARGE_OBJECTS * LARGE) as f64;
    let written = bytes / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for number in 0..LARGE_OBJECTS {
        let get = s3
            .get_object()
            .bucket(bucket)
            .key(format!("large-{number}"));
        let mut got = get.send().await?.body;
        let mut len = 0;
        while let Some(piece) = got.try_next().await? {
            len += piece.len();
        }
        ensure!(len == LARGE, "{len} bytes came back");
    }
    let read = bytes / begun.elapsed().as_secs_f64();
    Ok(Round {
        puts,
        written,
        read,
    })
}

/// Small objects one after the other until the time is up; how many.
async fn small(
    s3: &Client,
    bucket: &str,
    clients: usize,
    client: usize,
    begun: Instant,
) -> Result<usize> {
    let body = Bytes::from(vec![b'x'; SMALL]);
    let mut count = 0;
    while begun.elapsed() < SPAN {
        let key = format!("small/{clients}/{client}/{count}");
        let put = s3.put_object().bucket(bucket).key(key);
        put.body(ByteStream::from(body.clone())).send().await?;
        count += 1;
    }
    Ok(count)
}
