//! Notifications of another store, as hints: however many are lost, repeated or out of order, and whatever
//! is killed meanwhile, what is told is what the store holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use serde_json::Value;
use tests::{Line, OwnStore, Server, crash_rounds, eventually, skip, topic_lines};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::{SECRET, expect_no_secret};

const WRITERS: usize = 6;
/// Objects that each of them has acknowledged in a round.
const OBJECTS: usize = 12;

/// What becomes of notifications on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    /// All arrive, in order, once.
    Kept,
    /// So many of a hundred are lost; others arrive twice, and none in order.
    Losing(u64),
}

/// A place that a store posts its notifications to, and what passes them on: with the token that this
/// store cannot send.
struct PostOffice {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    _tasks: JoinSet<()>,
}

enum Order {
    Notification(Vec<u8>),
    /// What becomes of those that come now.
    Treat(Post),
    /// Everything that came is on its way, or lost.
    Flush(oneshot::Sender<()>),
}

impl PostOffice {
    async fn open(endpoint: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (orders, taken) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let posted = orders.clone();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Ok(body) = read_request(&mut stream).await {
                    let _ = posted.send(Order::Notification(body));
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = stream.write_all(answer).await;
                }
            }
        });
        tasks.spawn(pass_on(taken, endpoint));
        Ok(Self {
            address,
            orders,
            _tasks: tasks,
        })
    }

    fn treat(&self, post: Post) {
        let _ = self.orders.send(Order::Treat(post));
    }

    async fn flush(&self) -> Result<()> {
        let (done, flushed) = oneshot::channel();
        let _ = self.orders.send(Order::Flush(done));
        Ok(flushed.await?)
    }
}

async fn pass_on(mut orders: mpsc::UnboundedReceiver<Order>, endpoint: String) {
    let (mut post, mut chance) = (Post::Kept, 0x5EED_u64);
    let mut below = move |limit: u64| {
        // Marsaglia's xorshift.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance % limit
    };
    let mut held: Vec<Vec<u8>> = Vec::new();
    while let Some(order) = orders.recv().await {
        let keep = match order {
            Order::Treat(other) => {
                post = other;
                continue;
            }
            Order::Notification(body) => {
                match post {
                    Post::Kept => {
                        deliver(&endpoint, &body).await;
                        continue;
                    }
                    Post::Losing(share) if below(100) < share => continue,
                    Post::Losing(_) => {}
                }
                if below(3) == 0 {
                    held.push(body.clone());
                }
                held.push(body);
                8
            }
            Order::Flush(done) => {
                let _ = done.send(());
                0
            }
        };
        while held.len() > keep {
            let next = below(held.len() as u64);
            let body = held.swap_remove(usize::try_from(next).unwrap_or_default());
            deliver(&endpoint, &body).await;
        }
    }
}

/// Posts a notification to the connector that is called as its bucket is. The server may be down.
async fn deliver(endpoint: &str, body: &[u8]) {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let bucket = &parsed["Records"][0]["s3"]["bucket"]["name"];
    if let Some(bucket) = bucket.as_str() {
        let _ = post(endpoint, bucket, Some(SECRET), body).await;
    }
}

/// Posts to a connector, and returns the answer's status.
async fn post(endpoint: &str, connector: &str, token: Option<&str>, body: &[u8]) -> Result<u16> {
    announce(endpoint, connector, token, body.len(), body).await
}

/// Announces a body of some length, sends this of it, and returns the answer's status.
async fn announce(
    endpoint: &str,
    connector: &str,
    token: Option<&str>,
    length: usize,
    body: &[u8],
) -> Result<u16> {
    let address = endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let token = token.map_or(String::new(), |it| {
        format!("authorization: Bearer {it}\r\n")
    });
    let head = format!(
        "POST /_tidemill/notifications/{connector} HTTP/1.1\r\nhost: {address}\r\n{token}\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
    );
    // At once: what is refused by its head is not read further.
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(std::str::from_utf8(&answer[9..])?.parse()?)
}

/// Reads one request and returns its body.
async fn read_request(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(stream.read_buf(&mut read).await? > 0, "cut off");
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("a length")?.trim().parse()?;
    while read.len() < end + length {
        ensure!(stream.read_buf(&mut read).await? > 0, "cut off");
    }
    Ok(read[end..end + length].to_vec())
}

/// What was said of a bucket: for each key the acts and ETags, in order.
type Told = BTreeMap<String, Vec<(String, String)>>;

fn told(lines: &[Line]) -> Told {
    let mut told = Told::new();
    for line in lines {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &line.value["s3"]["object"];
        let said = (text(&line.value["eventName"]), text(&object["eTag"]));
        told.entry(text(&object["key"])).or_default().push(said);
    }
    told
}

/// All that is told of one.
fn of_key<'a>(lines: &'a [Line], key: &str) -> Vec<&'a Value> {
    let records = lines.iter().map(|line| &line.value);
    let of_it = |record: &&Value| record["s3"]["object"]["key"] == key;
    records.filter(of_it).collect()
}

/// What is there: ETags by key.
async fn there(client: &Client, bucket: &str) -> Result<BTreeMap<String, String>> {
    let mut pages = client
        .list_objects_v2()
        .bucket(bucket)
        .into_paginator()
        .send();
    let mut there = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for object in page?.contents() {
            let etag = object.e_tag().unwrap_or_default().trim_matches('"');
            there.insert(object.key().unwrap_or_default().to_owned(), etag.to_owned());
        }
    }
    Ok(there)
}

/// Whether what was told leads to what is there.
fn leads_to(told: &Told, there: &BTreeMap<String, String>) -> bool {
    let last = told.iter().filter_map(|(key, said)| {
        let (act, etag) = said.last()?;
        (act == "ObjectCreated:Put").then(|| (key.clone(), etag.clone()))
    });
    last.collect::<BTreeMap<_, _>>() == *there
}

async fn put(client: &Client, bucket: &str, key: &str, content: &str) -> Result<()> {
    let put = client.put_object().bucket(bucket).key(key);
    put.body(content.as_bytes().to_vec().into()).send().await?;
    Ok(())
}

/// Writes until so many objects were acknowledged, some of them replaced, some deleted again. A request
/// without an answer may have been done or not: what it was about is not written again.
async fn write(
    client: Client,
    bucket: String,
    name: String,
    acknowledged: Arc<AtomicUsize>,
    progress: Arc<Notify>,
    mut runs: watch::Receiver<bool>,
) -> BTreeSet<String> {
    let mut replaced = BTreeSet::new();
    let (mut done, mut attempt) = (0, 0);
    while done < OBJECTS {
        attempt += 1;
        let key = format!("in/{name}-{attempt}.csv");
        if put(&client, &bucket, &key, &key).await.is_err() {
            let _ = runs.wait_for(|runs| *runs).await;
            continue;
        }
        done += 1;
        acknowledged.fetch_add(1, Ordering::Relaxed);
        progress.notify_one();
        match done % 4 {
            0 => {
                replaced.insert(key.clone());
                let other = "something else, of another size";
                let _ = put(&client, &bucket, &key, other).await;
            }
            1 => {
                let delete = client.delete_object().bucket(&bucket).key(&key);
                let _ = delete.send().await;
            }
            _ => {}
        }
    }
    replaced
}

fn add(server: &Server, store: &OwnStore, bucket: &str, files: &str, seconds: &str) -> Result<()> {
    let (keys, token) = (format!("{files}/keys"), format!("file:{files}/token"));
    let endpoint = store.endpoint();
    let add = [
        "connector",
        "add",
        "s3",
        "--name",
        bucket,
        "--bucket",
        bucket,
    ];
    let how = ["--endpoint", &endpoint, "--credentials", &keys];
    let when = ["--interval-seconds", seconds, "--partitions", "1"];
    let hints = ["--notification-token", &token];
    server.tidemill(&[&add[..], &how, &when, &hints].concat())?;
    Ok(())
}

async fn events(server: &Server, bucket: &str, key: &str) -> Result<Vec<Line>> {
    let topic = format!("bucket.{bucket}");
    eventually(&format!("{key} is told"), async || {
        let lines = topic_lines(server, &topic).unwrap_or_default();
        let is_told = told(&lines).contains_key(key);
        Ok(is_told.then_some(lines))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_what_another_store_holds_whatever_becomes_of_its_notifications()
-> Result<()> {
    let mut server = Server::start()?;
    let office = PostOffice::open(server.endpoint()).await?;
    let webhook = format!("http://{}/", office.address);
    let Some(mut store) = OwnStore::find(&webhook).await? else {
        skip(
            "connectors",
            "there is no program of an S3-compatible store",
        );
        return Ok(());
    };
    let client = store.client();
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("keys"), store.credentials())?;
    std::fs::write(files.path().join("token"), SECRET)?;
    let files = files.path().display().to_string();

    // Listed once a day, so that after the first object nothing but a notification tells of another.
    client.create_bucket().bucket("hinted").send().await?;
    put(&client, "hinted", "first", "1").await?;
    add(&server, &store, "hinted", &files, "86400")?;
    events(&server, "hinted", "first").await?;
    put(&client, "hinted", "in/a b.csv", "2").await?;
    events(&server, "hinted", "in/a+b.csv").await?;
    client
        .delete_object()
        .bucket("hinted")
        .key("first")
        .send()
        .await?;
    eventually("the deletion is told", async || {
        let told = told(&topic_lines(&server, "bucket.hinted")?);
        Ok((told["first"].len() == 2).then_some(()))
    })
    .await?;
    expect_refusals(&server).await?;

    client.create_bucket().bucket("reconciled").send().await?;
    add(&server, &store, "reconciled", &files, "1")?;
    for round in 0..crash_rounds(1)? {
        for lost in [0, 50, 100] {
            office.treat(Post::Losing(lost));
            let name = format!("{round}-{lost}");
            let replaced = write_and_kill(&mut store, &mut server, &name).await?;
            office.flush().await?;
            check(&server, &client, &name, &office, &replaced).await?;
        }
    }
    expect_no_secret(&server, SECRET)
}

/// Has objects written, and kills the store in the midst of it; the server, too, and both come back.
async fn write_and_kill(
    store: &mut OwnStore,
    server: &mut Server,
    name: &str,
) -> Result<BTreeSet<String>> {
    let (acknowledged, progress) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let writers: Vec<JoinHandle<BTreeSet<String>>> = (0..WRITERS)
        .map(|writer| {
            tokio::spawn(write(
                store.client(),
                "reconciled".to_owned(),
                format!("{name}-{writer}"),
                Arc::clone(&acknowledged),
                Arc::clone(&progress),
                store.runs(),
            ))
        })
        .collect();
    let until = async |count: usize| {
        while acknowledged.load(Ordering::Relaxed) < count {
            progress.notified().await;
        }
    };
    until(WRITERS * OBJECTS / 4).await;
    store.kill()?;
    store.restart().await?;
    until(WRITERS * OBJECTS / 2).await;
    server.kill()?;
    server.restart()?;
    until(WRITERS * OBJECTS * 3 / 4).await;
    store.kill()?;
    store.restart().await?;
    let mut replaced = BTreeSet::new();
    for writer in writers {
        replaced.extend(writer.await?);
    }
    Ok(replaced)
}

async fn check(
    server: &Server,
    client: &Client,
    name: &str,
    office: &PostOffice,
    replaced: &BTreeSet<String>,
) -> Result<()> {
    let there_now = there(client, "reconciled").await?;
    let led = eventually("what is told is what is there", async || {
        let told = told(&topic_lines(server, "bucket.reconciled").unwrap_or_default());
        Ok(leads_to(&told, &there_now).then_some(()))
    })
    .await;
    if let Err(error) = led {
        let told = told(&topic_lines(server, "bucket.reconciled")?);
        return Err(error.context(format!("there: {there_now:#?}\ntold: {told:#?}")));
    }
    // Nobody hints at a last one: whoever finds it has listed everything once more.
    office.treat(Post::Losing(100));
    let last = format!("last-{name}");
    put(client, "reconciled", &last, "x").await?;
    let lines = events(server, "reconciled", &last).await?;
    let told = told(&lines);
    for (key, said) in &told {
        let acts: Vec<&str> = said.iter().map(|(act, _)| act.as_str()).collect();
        let (created, removed) = ("ObjectCreated:Put", "ObjectRemoved:Delete");
        let exactly = match (there_now.contains_key(key), replaced.contains(key)) {
            _ if *key == last || key.starts_with("last-") => acts == [created],
            (true, false) => acts == [created],
            (false, _) => acts == [created, removed],
            // Of its states those are told that were seen, and none twice. The store replaces an object
            // in two steps: in between it shows the new tag with the old size.
            (true, true) => {
                let states = of_key(&lines, key).into_iter().map(|record| {
                    let object = &record["s3"]["object"];
                    (object["eTag"].as_str(), object["size"].as_u64())
                });
                let different: BTreeSet<_> = states.collect();
                acts.iter().all(|act| *act == created) && different.len() == acts.len()
            }
        };
        // Of earlier rounds only the last word is known here.
        let earlier = !key.contains(&format!("/{name}-"));
        ensure!(exactly || earlier, "{key}: {:#?}", of_key(&lines, key));
    }
    Ok(())
}

/// Nothing is taken without the token, nothing that is no notification, and nothing large.
async fn expect_refusals(server: &Server) -> Result<()> {
    let endpoint = server.endpoint();
    let record = |bucket: &str| {
        format!(
            r#"{{"Records":[{{"s3":{{"bucket":{{"name":"{bucket}"}},"object":{{"key":"a"}}}}}}]}}"#
        )
    };
    let ours = record("hinted");
    let sns = r#"{"Type":"Notification","TopicArn":"arn:aws:sns:a","Message":"{}"}"#;
    for (connector, token, body, status) in [
        ("hinted", Some(SECRET), ours.as_str(), 204),
        ("hinted", None, &ours, 401),
        ("hinted", Some("hush"), &ours, 401),
        ("nobody", Some(SECRET), &ours, 401),
        ("hinted", Some(SECRET), &record("other"), 400),
        ("hinted", Some(SECRET), sns, 400),
        ("hinted", Some(SECRET), "[", 400),
    ] {
        let answer = post(&endpoint, connector, token, body.as_bytes()).await?;
        ensure!(
            answer == status,
            "{connector} {token:?} {answer}: {:.80}",
            body
        );
    }
    Ok(())
}
