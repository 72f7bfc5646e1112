//! One client: frames in, answers out.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::{Answer, Broker, Client, Space};
use crate::meter;
use crate::pipeline::{self, Pipeline};
use crate::wire::{self, FIXED_HEADER, LENGTH, Request, WireError};

/// A frame whose length has arrived must arrive whole within this time, since room is held for it.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// A client must take some bytes of its answers within this time.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// Small requests are read from the socket many at once.
const READ_BUFFER: usize = 16 << 10;

/// A decoded request and the room its frame takes.
pub(crate) type Received = (Request, Space);

/// Serves a client until it leaves, misbehaves, or `gone` is cancelled. Requests that were read
/// before are carried out all the same; `gone` only ends waiting.
pub(crate) async fn run(
    broker: Arc<Broker>,
    stream: TcpStream,
    peer: SocketAddr,
    gone: CancellationToken,
) -> Result<(), WireError> {
    stream.set_nodelay(true)?;
    let (input, output) = stream.into_split();
    // One in the channel, more in the pipeline, which has the bound that counts.
    let (requests, received) = mpsc::channel(1);
    let client = Client {
        host: format!("/{}", peer.ip()).into(),
        gone: gone.clone(),
    };
    let mut writing = pin!(write_answers(
        Pipeline::new(broker.clone(), client),
        received,
        output
    ));
    let reading = pin!(read_requests(&broker, input, requests, &gone));
    tokio::select! {
        ended = &mut writing => {
            gone.cancel();
            ended
        }
        ended = reading => {
            gone.cancel();
            writing.await?;
            ended
        }
    }
}

async fn read_requests(
    broker: &Broker,
    input: OwnedReadHalf,
    requests: mpsc::Sender<Received>,
    gone: &CancellationToken,
) -> Result<(), WireError> {
    let mut input = BufReader::with_capacity(READ_BUFFER, input);
    loop {
        let read = tokio::select! {
            biased;
            () = gone.cancelled() => return Ok(()),
            read = read_frame(broker, &mut input) => read?,
        };
        let Some((frame, space)) = read else {
            return Ok(());
        };
        meter::received(LENGTH + frame.len());
        let request = wire::decode(frame).inspect_err(|_| meter::closed("bad_request"))?;
        meter::request(request.header.api);
        tracing::trace!(api = ?request.header.api, version = request.header.version, "kafka request");
        if requests.send((request, space)).await.is_err() {
            return Ok(());
        }
    }
}

/// The next frame without its length; `None` when the client closed between two frames.
async fn read_frame(
    broker: &Broker,
    input: &mut BufReader<OwnedReadHalf>,
) -> Result<Option<(Bytes, Space)>, WireError> {
    match input.fill_buf().await {
        Ok([]) => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut head = [0; LENGTH + FIXED_HEADER];
    in_time(input.read_exact(&mut head)).await?;
    let (len, fixed) = head.split_first_chunk().expect("the head is longer");
    let fixed: &[u8; FIXED_HEADER] = fixed.try_into().expect("the rest of the head");
    let limit = wire::limit(fixed, broker.config.max_request_bytes);
    let claimed = i32::from_be_bytes(*len);
    let len = usize::try_from(claimed)
        .ok()
        .filter(|len| (FIXED_HEADER..=limit).contains(len))
        .ok_or_else(|| {
            meter::closed("bad_frame_length");
            let len = i64::from(claimed);
            WireError::FrameLength { len, limit }
        })?;
    let space = broker.requests.take(len).await;
    let mut frame = BytesMut::with_capacity(len);
    frame.extend_from_slice(fixed);
    let rest = async {
        let mut rest = input.take((len - FIXED_HEADER) as u64);
        while rest.limit() > 0 {
            if rest.read_buf(&mut frame).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    };
    in_time(rest).await?;
    Ok(Some((frame.freeze(), space)))
}

async fn in_time<T>(reading: impl Future<Output = std::io::Result<T>>) -> Result<T, WireError> {
    match timeout(FRAME_DEADLINE, reading).await {
        Ok(read) => Ok(read?),
        Err(_) => {
            meter::closed("slow_request");
            Err(WireError::Stalled)
        }
    }
}

async fn write_answers(
    mut pipeline: Pipeline,
    mut received: mpsc::Receiver<Received>,
    mut output: OwnedWriteHalf,
) -> Result<(), WireError> {
    let mut open = true;
    while open || !pipeline.is_empty() {
        tokio::select! {
            biased;
            request = received.recv(), if open && pipeline.len() < pipeline::MAX_IN_FLIGHT => {
                match request {
                    Some((request, space)) => pipeline.push(request, space),
                    None => open = false,
                }
            }
            answer = pipeline.next(), if !pipeline.is_empty() => {
                let Answer { frame, space } = answer?;
                if let Some(frame) = frame {
                    write(&mut output, frame).await?;
                }
                drop(space);
            }
        }
    }
    Ok(())
}

async fn write(output: &mut OwnedWriteHalf, mut frame: Bytes) -> Result<(), WireError> {
    meter::sent(frame.len());
    while frame.has_remaining() {
        match timeout(WRITE_STALL, output.write_buf(&mut frame)).await {
            Ok(Ok(0)) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
            Ok(written) => written?,
            Err(_) => {
                meter::closed("slow_reader");
                return Err(WireError::Stalled);
            }
        };
    }
    Ok(())
}
