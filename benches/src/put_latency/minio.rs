//! MinIO's webhooks: one that is sent from memory, and one that is written to a folder first (`queue_dir`), as
//! only such a one outlives MinIO's own end, or its receiver's.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use serde_json::Value;
use tests::{eventually, free_port, s3_at};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::table::{Table, percentile, time};

const PUTS: usize = 200;
/// Between two PUTs: a folder is looked into at intervals, and samples of one interval say nothing of the
/// others.
const PAUSE: Duration = Duration::from_millis(100);
/// How long notifications of objects that were written are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const KEYS: (&str, &str) = ("tidemill-bench", "tidemill-bench-secret");

/// A webhook: its name in MinIO's settings and its bucket's.
struct Webhook {
    id: &'static str,
    bucket: &'static str,
    what: &'static str,
}

const WEBHOOKS: [Webhook; 2] = [
    Webhook {
        id: "MEMORY",
        bucket: "memory",
        what: "without queue_dir",
    },
    Webhook {
        id: "FOLDER",
        bucket: "folder",
        what: "with queue_dir",
    },
];

/// What has come: the key of the object, and when.
type Posted = (String, Instant);

/// Measures both beside ours; nothing where there is no MinIO.
pub(super) async fn run(table: &mut Table, ours: Duration) -> Result<()> {
    let Some(program) = std::env::var_os("TIDEMILL_BENCH_MINIO") else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (receiver, mut posted, _serving) = receiver().await?;
    let port = free_port()?;
    let _minio = start(Path::new(&program), folder.path(), port, &receiver).await?;
    let s3 = s3_at(&format!("http://127.0.0.1:{port}"), KEYS.0, KEYS.1);
    for webhook in &WEBHOOKS {
        configure(&s3, webhook).await?;
        let mut times = measure(&s3, webhook, &mut posted).await?;
        times.sort();
        let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
        table.row(
            &format!("PUT to MinIO's webhook {}", webhook.what),
            "1 B object, one at a time, to the end of the request",
            format!("p50 {}, p99 {}", time(p50), time(p99)),
            format!(
                "ours to the function's first line is {:.1} × as quick",
                p50.as_secs_f64() / ours.as_secs_f64()
            ),
        );
    }
    Ok(())
}

/// Somebody who takes what is posted.
async fn receiver() -> Result<(String, mpsc::UnboundedReceiver<Posted>, JoinSet<()>)> {
    let (sender, posted) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/", listener.local_addr()?);
    let router = Router::new().fallback(take).with_state(sender);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok((address, posted, serving))
}

async fn take(State(sender): State<mpsc::UnboundedSender<Posted>>, body: Bytes) {
    let now = Instant::now();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    // It also asks whether there is somebody.
    if let Some(key) = body["Records"][0]["s3"]["object"]["key"].as_str() {
        let _ = sender.send((key.to_owned(), now));
    }
}

async fn start(program: &Path, folder: &Path, port: u16, receiver: &str) -> Result<Child> {
    let (data, queue) = (folder.join("data"), folder.join("queue"));
    for made in [&data, &queue] {
        std::fs::create_dir(made)?;
    }
    let console = free_port()?;
    let mut command = Command::new(program);
    command
        .args(["server", "--quiet", "--address"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--console-address")
        .arg(format!("127.0.0.1:{console}"))
        .arg(&data)
        .env("MINIO_ROOT_USER", KEYS.0)
        .env("MINIO_ROOT_PASSWORD", KEYS.1)
        // It would look for a newer one of itself.
        .env("MINIO_UPDATE", "off")
        .env("MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_FOLDER", &queue)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    for Webhook { id, .. } in &WEBHOOKS {
        command
            .env(format!("MINIO_NOTIFY_WEBHOOK_ENABLE_{id}"), "on")
            .env(format!("MINIO_NOTIFY_WEBHOOK_ENDPOINT_{id}"), receiver);
    }
    let minio = command.spawn().context("start MinIO")?;
    eventually("MinIO answers", async || {
        Ok(TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop))
    })
    .await?;
    Ok(minio)
}

async fn configure(s3: &Client, webhook: &Webhook) -> Result<()> {
    let bucket = webhook.bucket;
    // It listens before it is ready.
    eventually("a bucket is made", async || {
        Ok(s3
            .create_bucket()
            .bucket(bucket)
            .send()
            .await
            .ok()
            .map(drop))
    })
    .await?;
    let queue = QueueConfiguration::builder()
        .queue_arn(format!("arn:minio:sqs::{}:webhook", webhook.id))
        .events(Event::from("s3:ObjectCreated:*"))
        .build()?;
    let configuration = NotificationConfiguration::builder().queue_configurations(queue);
    let put = s3.put_bucket_notification_configuration().bucket(bucket);
    put.notification_configuration(configuration.build())
        .send()
        .await
        .context("configure a webhook")?;
    Ok(())
}

/// How long each notification took; the first ones open connections.
async fn measure(
    s3: &Client,
    webhook: &Webhook,
    posted: &mut mpsc::UnboundedReceiver<Posted>,
) -> Result<Vec<Duration>> {
    let mut sent = HashMap::new();
    for n in 0..PUTS {
        let key = format!("{}-{n}", webhook.bucket);
        sent.insert(key.clone(), (n, Instant::now()));
        let put = s3.put_object().bucket(webhook.bucket).key(key);
        put.body(ByteStream::from_static(b"x")).send().await?;
        tokio::time::sleep(PAUSE).await;
    }
    let mut times = Vec::with_capacity(PUTS);
    while !sent.is_empty() {
        let next = tokio::time::timeout(PATIENCE, posted.recv()).await;
        let Ok(Some((key, at))) = next else {
            bail!(
                "MinIO has not told of {} objects {}",
                sent.len(),
                webhook.what
            );
        };
        // It may tell of one twice.
        if let Some((n, begun)) = sent.remove(&key)
            && n >= PUTS / 10
        {
            times.push(at - begun);
        }
    }
    Ok(times)
}
