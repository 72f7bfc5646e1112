//! One kept connection that speaks HTTP/1.1 by hand, so that the load takes little of the processors that
//! it shares with whoever is measured.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What the function answers to every event.
const ANSWER: &[u8] = b"null";

/// How an answer's end is told.
#[derive(Clone, Copy)]
enum Length {
    Known(usize),
    InChunks,
}

/// A caller's connection.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    /// Connects to `127.0.0.1:PORT`.
    pub(super) async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            line: String::new(),
            body: Vec::new(),
        })
    }

    /// Sends one invocation and waits for its whole answer, which must be the function's.
    pub(super) async fn invoke(&mut self, request: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(request).await?;
        self.read_line().await?;
        let status = self.line.trim_end().to_owned();
        let mut length = Length::Known(0);
        loop {
            self.read_line().await?;
            let Some((name, value)) = self.line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Length::Known(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::InChunks;
            }
        }
        self.body.clear();
        match length {
            Length::Known(bytes) => self.read(bytes).await?,
            Length::InChunks => self.read_chunks().await?,
        }
        let answered = status.starts_with("HTTP/1.1 200") && self.body.trim_ascii() == ANSWER;
        ensure!(
            answered,
            "{status}: {}",
            String::from_utf8_lossy(&self.body)
        );
        Ok(())
    }

    async fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        if self.stream.read_line(&mut self.line).await? == 0 {
            bail!("the connection was closed");
        }
        Ok(())
    }

    /// Appends so many bytes to the body.
    async fn read(&mut self, bytes: usize) -> Result<()> {
        let begin = self.body.len();
        self.body.resize(begin + bytes, 0);
        self.stream.read_exact(&mut self.body[begin..]).await?;
        Ok(())
    }

    async fn read_chunks(&mut self) -> Result<()> {
        loop {
            self.read_line().await?;
            let bytes = usize::from_str_radix(self.line.trim_end(), 16).context("a chunk")?;
            self.read(bytes).await?;
            self.read_line().await?;
            if bytes == 0 {
                return Ok(());
            }
        }
    }
}
