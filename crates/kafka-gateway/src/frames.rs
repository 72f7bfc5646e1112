//! Frames on a connection, whatever carries it: read with bounded memory and patience, and written.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout, timeout_at};

use crate::meter;
use crate::wire::{self, FIXED_HEADER, LENGTH, WireError};

/// A frame whose length has arrived must arrive whole within this time, since room is held for it.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// A client must take some bytes of its answers within this time.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// And a whole answer within as much time and one second more for each of these: who takes it drop
/// by drop holds room that others need.
const BYTES_PER_SECOND: usize = 128 << 10;
/// Bytes of a frame that are read on trust, before there is room for all of it: what a client that
/// claims much and sends little can hold.
const TRUSTED: usize = 64 << 10;
/// Small requests are read from the connection many at once.
const READ_BUFFER: usize = 16 << 10;

/// The incoming half of a connection.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    input: BufReader<R>,
}

/// How a request begins.
#[derive(Debug)]
pub(crate) struct Head {
    fixed: [u8; FIXED_HEADER],
    len: usize,
}

/// A frame of which at least the beginning has arrived.
#[derive(Debug)]
pub(crate) struct Begun {
    frame: BytesMut,
    len: usize,
}

impl Head {
    /// The length of the frame, in bytes.
    pub(crate) fn frame_len(&self) -> usize {
        self.len
    }

    /// The number of the API.
    pub(crate) fn api_key(&self) -> i16 {
        i16::from_be_bytes([self.fixed[0], self.fixed[1]])
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(READ_BUFFER, input),
        }
    }

    /// Waits until a frame begins; false when the client closed instead. Dropping this future loses
    /// nothing.
    pub(crate) async fn begins(&mut self) -> Result<bool, WireError> {
        match self.input.fill_buf().await {
            Ok(bytes) => Ok(!bytes.is_empty()),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The head of the next request; `None` when the client closed between two frames. `limit` is
    /// the largest frame that is read, in bytes.
    pub(crate) async fn head(&mut self, limit: usize) -> Result<Option<Head>, WireError> {
        if !self.begins().await? {
            return Ok(None);
        }
        let mut head = [0; LENGTH + FIXED_HEADER];
        in_time(self.input.read_exact(&mut head)).await?;
        let (len, fixed) = head.split_first_chunk().expect("the head is longer");
        let fixed: [u8; FIXED_HEADER] = fixed.try_into().expect("the rest of the head");
        let limit = wire::limit(&fixed, limit);
        let len = checked(i32::from_be_bytes(*len), FIXED_HEADER, limit)?;
        Ok(Some(Head { fixed, len }))
    }

    /// The whole frame that began with `head`, without its length.
    pub(crate) async fn request(&mut self, head: Head) -> Result<Bytes, WireError> {
        let begun = self.begin(&head).await?;
        self.finish(begun).await
    }

    /// As much of the frame that begins with `head` as is read on trust.
    pub(crate) async fn begin(&mut self, head: &Head) -> Result<Begun, WireError> {
        let len = head.len;
        let mut frame = BytesMut::with_capacity(len.min(TRUSTED));
        frame.extend_from_slice(&head.fixed);
        in_time(self.fill(&mut frame, len.min(TRUSTED))).await?;
        Ok(Begun { frame, len })
    }

    /// The rest of it.
    pub(crate) async fn finish(&mut self, begun: Begun) -> Result<Bytes, WireError> {
        let Begun { mut frame, len } = begun;
        if frame.len() < len {
            frame.reserve(len - frame.len());
            in_time(self.fill(&mut frame, len)).await?;
        }
        Ok(frame.freeze())
    }

    /// The next frame as it is, without its length, at most `limit` bytes; `None` when the client
    /// closed between two frames.
    pub(crate) async fn token(&mut self, limit: usize) -> Result<Option<Bytes>, WireError> {
        if !self.begins().await? {
            return Ok(None);
        }
        let len = in_time(self.input.read_i32()).await?;
        let len = checked(len, 0, limit)?;
        let mut token = BytesMut::with_capacity(len);
        in_time(self.fill(&mut token, len)).await?;
        Ok(Some(token.freeze()))
    }

    /// Reads until `frame` has `len` bytes.
    async fn fill(&mut self, frame: &mut BytesMut, len: usize) -> io::Result<()> {
        let mut rest = (&mut self.input).take((len - frame.len()) as u64);
        while rest.limit() > 0 {
            if rest.read_buf(frame).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl Begun {
    /// Whether nothing is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.frame.len() == self.len
    }
}

/// Writes a frame and sends it off.
pub(crate) async fn write<W>(output: &mut W, mut frame: Bytes) -> Result<(), WireError>
where
    W: AsyncWrite + Unpin,
{
    meter::sent(frame.len());
    let seconds = (frame.len() / BYTES_PER_SECOND) as u64;
    let until = Instant::now() + WRITE_STALL + Duration::from_secs(seconds);
    while frame.has_remaining() {
        if taken(output.write_buf(&mut frame), until).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
    }
    taken(output.flush(), until).await
}

fn checked(claimed: i32, least: usize, limit: usize) -> Result<usize, WireError> {
    let len = usize::try_from(claimed).ok();
    len.filter(|len| (least..=limit).contains(len))
        .ok_or_else(|| {
            meter::closed("bad_frame_length");
            let len = i64::from(claimed);
            WireError::FrameLength { len, limit }
        })
}

async fn in_time<T>(reading: impl Future<Output = io::Result<T>>) -> Result<T, WireError> {
    match timeout(FRAME_DEADLINE, reading).await {
        Ok(read) => Ok(read?),
        Err(_) => {
            meter::closed("slow_request");
            Err(WireError::Stalled)
        }
    }
}

async fn taken<T>(
    writing: impl Future<Output = io::Result<T>>,
    until: Instant,
) -> Result<T, WireError> {
    match timeout_at(until.min(Instant::now() + WRITE_STALL), writing).await {
        Ok(written) => Ok(written?),
        Err(_) => {
            meter::closed("slow_reader");
            Err(WireError::Stalled)
        }
    }
}

/// Clients leave without a word, and over TLS without the word that TLS wants.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}
