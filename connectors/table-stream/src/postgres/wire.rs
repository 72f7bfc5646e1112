//! A replication connection: PostgreSQL's protocol as far as logical replication needs it.
//!
//! Ordinary clients do not speak the two-way copy that replication runs in. The messages to the
//! server are those of the crate `postgres-protocol`; here is what is around them: connecting,
//! authentication (none, clear text, MD5, SCRAM), simple queries, and the copy.

mod authenticate;

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use clock::Timestamp;
use futures::FutureExt as _;
use postgres_protocol::message::frontend;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::TlsConnect as _;

use super::Lsn;
use super::tls::Tls;

/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// PostgreSQL's own bound on a message to a client.
const LONGEST: usize = 1 << 30;

/// How every connection of ours wants values written: the decoder of values counts on it.
pub(super) const SETTINGS: [(&str, &str); 5] = [
    ("DateStyle", "ISO"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the server says: {message} ({code})")]
    Server { code: String, message: String },
    #[error("the server breaks the protocol: {0}")]
    Protocol(&'static str),
    #[error("{0}")]
    Unsupported(String),
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A connection in replication mode.
pub(super) struct Replication {
    socket: Box<dyn Socket>,
    received: BytesMut,
}

/// What comes within the copy.
#[derive(Debug)]
pub(super) enum Frame {
    /// One message of the plugin; the server has come to `end`.
    Change { end: Lsn, message: Bytes },
    /// The server has come to `end`.
    KeepAlive { end: Lsn, answer: Answer },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Wanted,
    Unneeded,
}

struct Message {
    tag: u8,
    body: Bytes,
}

impl Replication {
    pub(super) async fn connect(
        config: &tokio_postgres::Config,
        tls: &Tls,
    ) -> Result<Self, WireError> {
        let mut connection = Self {
            socket: dial(config, tls).await?,
            received: BytesMut::new(),
        };
        let user = config.get_user().unwrap_or("postgres");
        let mut parameters = vec![
            ("user", user),
            ("database", config.get_dbname().unwrap_or(user)),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", "tidemill"),
        ];
        parameters.extend(SETTINGS);
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out)?;
        connection.socket.write_all(&out).await?;
        connection.authenticate(config).await?;
        Ok(connection)
    }

    /// Runs one command and returns its rows.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, WireError> {
        self.send_query(sql).await?;
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            let mut message = self.message().await?;
            match message.tag {
                b'D' => rows.push(row(&mut message.body)?),
                b'E' => failed = Some(server_error(message.body)),
                b'Z' => return failed.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Begins the copy.
    pub(super) async fn start(&mut self, sql: &str) -> Result<(), WireError> {
        self.send_query(sql).await?;
        loop {
            let message = self.message().await?;
            match message.tag {
                b'W' => return Ok(()),
                b'E' => return Err(server_error(message.body)),
                b'Z' => return Err(WireError::Protocol("no copy was begun")),
                _ => {}
            }
        }
    }

    /// Waits for the next frame of the copy.
    pub(super) async fn frame(&mut self) -> Result<Frame, WireError> {
        loop {
            let message = self.message().await?;
            if let Some(frame) = frame(message)? {
                return Ok(frame);
            }
        }
    }

    /// The next frame, if it is here already.
    pub(super) fn frame_at_hand(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            while let Some(message) = self.buffered()? {
                if let Some(frame) = frame(message)? {
                    return Ok(Some(frame));
                }
            }
            match self.fill().now_or_never() {
                Some(filled) => filled?,
                None => return Ok(None),
            }
        }
    }

    /// Tells the server that everything below `flushed` may be forgotten.
    pub(super) async fn acknowledge(
        &mut self,
        flushed: Lsn,
        now: Timestamp,
    ) -> Result<(), WireError> {
        let mut status = BytesMut::with_capacity(34);
        status.put_u8(b'r');
        for _ in ["written", "flushed", "applied"] {
            status.put_u64(flushed.get());
        }
        status.put_i64(now.as_millis().saturating_mul(1000) - EPOCH_MICROS);
        status.put_u8(0);
        let mut out = BytesMut::new();
        frontend::CopyData::new(status.freeze())?.write(&mut out);
        self.socket.write_all(&out).await?;
        self.socket.flush().await?;
        Ok(())
    }

    async fn send_query(&mut self, sql: &str) -> Result<(), WireError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out)?;
        self.socket.write_all(&out).await?;
        self.socket.flush().await?;
        Ok(())
    }

    async fn message(&mut self) -> Result<Message, WireError> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// A whole message of those received.
    fn buffered(&mut self) -> Result<Option<Message>, WireError> {
        let Some(header) = self.received.get(..5) else {
            return Ok(None);
        };
        let tag = header[0];
        let len = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if !(4..=LONGEST).contains(&len) {
            return Err(WireError::Protocol("a message has an impossible length"));
        }
        if self.received.len() <= len {
            self.received.reserve(len + 1 - self.received.len());
            return Ok(None);
        }
        let mut body = self.received.split_to(len + 1).freeze();
        body.advance(5);
        Ok(Some(Message { tag, body }))
    }

    async fn fill(&mut self) -> Result<(), WireError> {
        self.received.reserve(64 << 10);
        match self.socket.read_buf(&mut self.received).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }
}

async fn dial(config: &tokio_postgres::Config, tls: &Tls) -> Result<Box<dyn Socket>, WireError> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let (mut socket, name) = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => {
            let socket = TcpStream::connect((name.as_str(), port)).await?;
            socket.set_nodelay(true)?;
            notice_death(&socket)?;
            (socket, name)
        }
        Some(Host::Unix(folder)) => {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            return Ok(Box::new(UnixStream::connect(path).await?));
        }
        None => return Err(WireError::Unsupported("the address has no host".to_owned())),
    };
    if tls.mode() == SslMode::Disable {
        return Ok(Box::new(socket));
    }
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    socket.write_all(&out).await?;
    if socket.read_u8().await? != b'S' {
        return Err(WireError::Unsupported(
            "the server does not speak TLS".to_owned(),
        ));
    }
    let handshake = <Tls as tokio_postgres::tls::MakeTlsConnect<TcpStream>>::make_tls_connect(
        &mut tls.clone(),
        name,
    )
    .map_err(|_| WireError::Unsupported("the server's name is none".to_owned()))?;
    Ok(Box::new(handshake.connect(socket).await?))
}

/// A server whose machine has vanished says nothing; without a sign of life within a minute, reading
/// fails and the source is opened again.
fn notice_death(socket: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}

fn frame(message: Message) -> Result<Option<Frame>, WireError> {
    let mut body = message.body;
    match message.tag {
        b'd' => {}
        b'E' => return Err(server_error(body)),
        b'c' => return Err(WireError::Protocol("the copy was ended")),
        // Notices and settings that change.
        _ => return Ok(None),
    }
    let short = || WireError::Protocol("a frame is too short");
    match body.try_get_u8().map_err(|_| short())? {
        b'w' if body.len() >= 24 => {
            body.advance(8);
            let end = Lsn::new(body.get_u64());
            body.advance(8);
            Ok(Some(Frame::Change { end, message: body }))
        }
        b'k' if body.len() >= 17 => {
            let end = Lsn::new(body.get_u64());
            body.advance(8);
            let answer = match body.get_u8() {
                0 => Answer::Unneeded,
                _ => Answer::Wanted,
            };
            Ok(Some(Frame::KeepAlive { end, answer }))
        }
        b'w' | b'k' => Err(short()),
        _ => Err(WireError::Protocol("a frame of an unknown kind")),
    }
}

fn row(body: &mut Bytes) -> Result<Vec<Option<String>>, WireError> {
    let short = || WireError::Protocol("a row is too short");
    let count = body.try_get_u16().map_err(|_| short())?;
    let mut values = Vec::new();
    for _ in 0..count {
        let len = body.try_get_i32().map_err(|_| short())?;
        let Ok(len) = usize::try_from(len) else {
            values.push(None);
            continue;
        };
        if body.len() < len {
            return Err(short());
        }
        let text = String::from_utf8(body.split_to(len).into());
        values.push(Some(
            text.map_err(|_| WireError::Protocol("a row is no text"))?,
        ));
    }
    Ok(values)
}

fn server_error(body: Bytes) -> WireError {
    let (mut code, mut message) = (String::new(), String::new());
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else {
            continue;
        };
        let text = || String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => code = text(),
            b'M' => message = text(),
            _ => {}
        }
    }
    WireError::Server { code, message }
}
