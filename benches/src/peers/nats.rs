//! JetStream publishes (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).
//!
//! There are no batches: a batch is as many messages in flight at once, until all are acknowledged.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::RECORD_BYTES;

const STREAM: &str =
    r#"{"name":"load","subjects":["load.*"],"storage":"file","retention":"limits"}"#;

/// Makes the stream that every client publishes to.
pub(super) async fn create_stream(address: &str) -> Result<()> {
    let length = STREAM.len();
    let create = format!("PUB $JS.API.STREAM.CREATE.load _INBOX.stream {length}\r\n{STREAM}\r\n");
    Client::open(address, "_INBOX.stream", create.into_bytes(), 1)
        .await?
        .append()
        .await
}

/// A connection that publishes the same messages again and again.
pub(super) struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    request: Vec<u8>,
    messages: usize,
}

impl Client {
    pub(super) async fn connect(address: &str, index: usize, records: usize) -> Result<Self> {
        let payload = "x".repeat(RECORD_BYTES);
        // Acknowledgements come to an inbox of this connection's own.
        let inbox = format!("_INBOX.{index}");
        let publish = format!("PUB load.{index} {inbox} {RECORD_BYTES}\r\n{payload}\r\n");
        let request = publish.into_bytes().repeat(records);
        Self::open(address, &inbox, request, records).await
    }

    async fn open(address: &str, inbox: &str, request: Vec<u8>, messages: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {inbox} 1\r\n");
        writer.write_all(hello.as_bytes()).await?;
        Ok(Self {
            reader: BufReader::with_capacity(1 << 16, reader),
            writer,
            request,
            messages,
        })
    }

    pub(super) async fn append(&mut self) -> Result<()> {
        // Reading goes on while a large batch is written, or both sides would wait for each other.
        let written = async { Ok(self.writer.write_all(&self.request).await?) };
        let acknowledged = acknowledgements(&mut self.reader, self.messages);
        tokio::try_join!(written, acknowledged).map(drop)
    }
}

async fn acknowledgements(reader: &mut BufReader<OwnedReadHalf>, count: usize) -> Result<()> {
    let mut line = String::new();
    let mut body = Vec::new();
    let mut acknowledged = 0;
    while acknowledged < count {
        line.clear();
        reader.read_line(&mut line).await?;
        let Some(header) = line.strip_prefix("MSG ") else {
            let known = line.starts_with("INFO ") || line.starts_with("PING");
            ensure!(known, "NATS answered {line:?}");
            continue;
        };
        let length = header.split_ascii_whitespace().next_back();
        let length: usize = length.context("a message without a length")?.parse()?;
        body.resize(length + 2, 0);
        reader.read_exact(&mut body).await?;
        if body.windows(7).any(|text| text == b"\"error\"") {
            bail!("NATS refused: {}", String::from_utf8_lossy(&body));
        }
        acknowledged += 1;
    }
    Ok(())
}
