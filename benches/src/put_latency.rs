//! From the start of a PUT to the first line of the function that it triggers.
//!
//! The function prints the machine's clock as its first act; the driver reads the same clock right
//! before it sends the request. In between lie the signature, the durable commit, the dispatcher and
//! the Runtime API.
//!
//! Beside it, from the start of a PUT into MinIO to the end of the request that MinIO posts to a webhook, where
//! a function has yet to be started.

mod minio;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use tests::{Cli, Server, until_settled, zip_file};

use crate::floor;
use crate::table::{Table, percentile, time};

const PUTS: usize = 300;
const HANDLER: &str = "import time
def handler(event, context):
    print('began', event['Records'][0]['s3']['object']['key'], time.time_ns())
";

/// PUTs one small object after another with a warm Python function behind the bucket.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let server = Server::start()?;
    let aws = Cli::find(&server).context("the AWS CLI")?;
    deploy(&aws)?;
    let s3 = tests::s3(&server)?;
    let mut sent = Vec::with_capacity(PUTS);
    for n in 0..PUTS {
        sent.push(SystemTime::now().duration_since(UNIX_EPOCH)?);
        s3.put_object()
            .bucket("inbox")
            .key(n.to_string())
            .body(ByteStream::from_static(b"x"))
            .send()
            .await?;
    }
    until_settled(&server).await?;
    let logs = server.tidemill(&["logs", "first"])?;
    let mut times = Vec::with_capacity(PUTS);
    for line in logs.lines().filter_map(|line| line.strip_prefix("began ")) {
        let (key, nanos) = line.split_once(' ').context("a line")?;
        let began = Duration::from_nanos(nanos.parse()?);
        // The first ones start instances.
        let number: usize = key.parse()?;
        if number >= PUTS / 10 {
            times.push(began.saturating_sub(sent[number]));
        }
    }
    times.sort();
    let disk = floor::durable_writes(&server.data_dir(), 500)?;
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    table.row(
        "PUT to the function's first line",
        "1 B object, one at a time, warm Python",
        format!("p50 {}, p99 {}", time(p50), time(p99)),
        format!(
            "{:.1} × one durable 4 KiB write (p50 {})",
            p50.as_secs_f64() / percentile(&disk, 50).as_secs_f64(),
            time(percentile(&disk, 50))
        ),
    );
    drop(server);
    minio::run(table, p50).await
}

fn deploy(aws: &Cli<'_>) -> Result<()> {
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "f.zip", &[("app.py", HANDLER.as_bytes())])?;
    aws.create_function("first", ("python3.11", "app.handler"), &zip, &[])?;
    aws.run(&["s3", "mb", "s3://inbox"])?;
    aws.notify("inbox", "first", &["s3:ObjectCreated:*"])
}
