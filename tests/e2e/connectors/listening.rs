//! Notifications that another store writes on a connection, as MinIO-compatible stores do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Line, Server, eventually, topic_lines};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{expect_no_secret, status, until};

/// The listen API in front of a store that has none. Whoever connects for something else is passed on.
struct Front {
    address: SocketAddr,
    /// Connections that are listened on.
    listeners: mpsc::UnboundedReceiver<TcpStream>,
    _tasks: JoinSet<()>,
}

impl Front {
    async fn open(store: &Server) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let store = store.endpoint().trim_start_matches("http://").to_owned();
        let (heard, listeners) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (store, heard) = (store.clone(), heard.clone());
                connections.spawn(async move {
                    let _ = take(client, &store, &heard).await;
                });
            }
        });
        Ok(Self {
            address,
            listeners,
            _tasks: tasks,
        })
    }

    async fn listener(&mut self) -> Result<TcpStream> {
        self.listeners.recv().await.context("somebody who listens")
    }
}

async fn take(
    mut client: TcpStream,
    store: &str,
    heard: &mpsc::UnboundedSender<TcpStream>,
) -> Result<()> {
    let mut line = [0; 512];
    // A request is sent at once: so much of it, whatever is in it.
    let some = client.peek(&mut line).await?;
    let asked = String::from_utf8_lossy(&line[..some]).into_owned();
    if asked.starts_with("GET /told?events=s3%3AObjectCreated%3A%2A&events=") {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await?);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n ").await?;
        heard.send(client)?;
        return Ok(());
    }
    let mut store = TcpStream::connect(store).await?;
    copy_bidirectional(&mut client, &mut store).await?;
    Ok(())
}

/// Says that an object has changed, with its key as it is: so MinIO does here.
async fn say(listener: &mut TcpStream, key: &str) -> Result<()> {
    let record = format!(r#"{{"s3":{{"bucket":{{"name":"told"}},"object":{{"key":"{key}"}}}}}}"#);
    let line = format!("{{\"Records\":[{record}]}}\n");
    Ok(listener.write_all(line.as_bytes()).await?)
}

fn told(lines: &[Line]) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for line in lines {
        let key = text(&line.value["s3"]["object"]["key"]);
        told.entry(key)
            .or_default()
            .push(text(&line.value["eventName"]));
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_says_on_a_connection_is_seen_at_once_and_told_exactly_whatever_breaks()
-> Result<()> {
    let (store, mut server) = (Server::start()?, Server::start()?);
    let mut front = Front::open(&store).await?;
    let s3 = tests::s3(&store)?;
    s3.create_bucket().bucket("told").send().await?;
    let put = async |key: &str| -> Result<()> {
        let put = s3.put_object().bucket("told").key(key);
        put.body(key.as_bytes().to_vec().into()).send().await?;
        Ok(())
    };
    put("first").await?;
    let keys = store.data_dir().join("credentials").display().to_string();
    // Listed once a day, unless something is said.
    let add = |name: &str, endpoint: &str| {
        let add = ["connector", "add", "s3", "--name", name, "--bucket", name];
        let how = ["--endpoint", endpoint, "--credentials", &keys];
        let when = ["--interval-seconds", "86400", "--partitions", "1"];
        server.tidemill(&[&add[..], &how, &when, &["--notification-listen"]].concat())
    };
    add("told", &format!("http://{}", front.address))?;
    s3.create_bucket().bucket("deaf").send().await?;
    add("deaf", &store.endpoint())?;
    let events = async |server: &Server, wanted: usize| {
        eventually(&format!("{wanted} events are there"), async || {
            let lines = topic_lines(server, "bucket.told").unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    let mut listener = front.listener().await?;
    events(&server, 1).await?;
    put("in/a+b").await?;
    say(&mut listener, "in/a+b").await?;
    say(&mut listener, "in/a+b").await?;
    events(&server, 2).await?;
    s3.delete_object()
        .bucket("told")
        .key("first")
        .send()
        .await?;
    say(&mut listener, "first").await?;
    events(&server, 3).await?;
    // Nobody says this one: it is seen because there is another connection.
    put("unsaid").await?;
    drop(listener);
    let mut listener = front.listener().await?;
    events(&server, 4).await?;
    // Half of what is said is cut off by our end.
    put("cut").await?;
    listener.write_all(b"{\"Records\":[{\"s3\":").await?;
    server.kill()?;
    put("down").await?;
    server.restart()?;
    let mut listener = front.listener().await?;
    events(&server, 6).await?;
    put("last").await?;
    say(&mut listener, "out-of-nowhere").await?;
    say(&mut listener, "last").await?;
    let told = told(&events(&server, 7).await?);
    let created = || vec!["ObjectCreated:Put".to_owned()];
    let gone = [created(), vec!["ObjectRemoved:Delete".to_owned()]].concat();
    let mut wanted: BTreeMap<String, Vec<String>> = ["in/a%2Bb", "unsaid", "cut", "down", "last"]
        .map(|key| (key.to_owned(), created()))
        .into();
    wanted.insert("first".to_owned(), gone);
    ensure!(told == wanted, "{told:?}");

    let report = until(&server, "told", "running").await?;
    ensure!(report["hints"]["error"].is_null(), "{report}");
    // A store without the API is read all the same.
    let report = eventually("it is told that nothing can be heard", async || {
        let report = status(&server, "deaf")?;
        Ok(report["hints"]["error"].is_string().then_some(report))
    })
    .await?;
    let why = report["hints"]["error"].as_str().unwrap_or_default();
    ensure!(
        why.contains("NotImplemented") && report["state"] == "running",
        "{report}"
    );
    expect_no_secret(&server, &store.credentials()?.1)
}
