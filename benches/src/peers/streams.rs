//! Appends to durable streams over HTTP/1.1 (<https://docs.rs/crate/durable-streams>): a PUT makes a
//! stream, a POST appends its body as one entry, a batch being one body.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::RECORD_BYTES;

/// Streams that the clients share among them.
const STREAMS: usize = 16;

/// A connection that appends the same bytes again and again.
pub(super) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: &str, index: usize, records: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let index = index % STREAMS;
        let head = |method: &str, length: usize| {
            format!(
                "{method} /v1/stream/load-{index} HTTP/1.1\r\nhost: {address}\r\n\
                 content-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n"
            )
            .into_bytes()
        };
        let mut client = Self {
            stream,
            request: head("PUT", 0),
        };
        client.append().await.context("make a stream")?;
        let body = vec![b'x'; RECORD_BYTES * records];
        client.request = head("POST", body.len());
        client.request.extend(body);
        Ok(client)
    }

    pub(super) async fn append(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        let mut answer = Vec::with_capacity(512);
        // No answer has a body: what ends its head ends it.
        while !answer.ends_with(b"\r\n\r\n") {
            ensure!(
                self.stream.read_buf(&mut answer).await? > 0,
                "the server hung up"
            );
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 2"),
            "the server answered {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }
}
