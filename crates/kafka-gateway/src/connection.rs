//! One client: frames in, answers out.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::{Answer, Broker, Client, Space};
use crate::frames::{self, FrameReader, Head};
use crate::pipeline::{self, Pipeline};
use crate::wire::{self, LENGTH, Request, WireError};
use crate::{authentication, fetch, meter};

/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A decoded request and the room its frame takes.
pub(crate) type Received = (Request, Space);

/// Serves a client until it leaves, misbehaves, stays silent for too long, or `gone` is cancelled.
/// Requests that were read before are carried out all the same; `gone` only ends waiting.
pub(crate) async fn run(
    broker: Arc<Broker>,
    stream: TcpStream,
    peer: SocketAddr,
    gone: CancellationToken,
) -> Result<(), WireError> {
    stream.set_nodelay(true)?;
    let Some(tls) = &broker.config.security.tls else {
        let (input, output) = stream.into_split();
        return speak(broker, input, output, peer, gone).await;
    };
    let shaken = tokio::select! {
        () = gone.cancelled() => return Ok(()),
        shaken = timeout(HANDSHAKE, tls.acceptor().accept(stream)) => shaken,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            meter::closed("tls_handshake_failed");
            return Err(WireError::Handshake(error));
        }
        Err(_) => {
            meter::closed("slow_tls_handshake");
            return Err(WireError::Stalled);
        }
    };
    let (input, output) = tokio::io::split(stream);
    speak(broker, input, output, peer, gone).await
}

async fn speak<R, W>(
    broker: Arc<Broker>,
    input: R,
    mut output: W,
    peer: SocketAddr,
    gone: CancellationToken,
) -> Result<(), WireError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut input = FrameReader::new(input);
    let known = match &broker.gate {
        None => Ok(true),
        Some(gate) => tokio::select! {
            () = gone.cancelled() => Ok(false),
            admitted = authentication::admit(gate, &mut input, &mut output) => admitted,
        },
    };
    let ended = match known {
        Ok(true) => serve(broker, input, &mut output, peer, gone).await,
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    // TLS has a word for the end; what the client makes of it is its own affair.
    let _: Result<_, _> = timeout(FAREWELL, output.shutdown()).await;
    ended
}

async fn serve<R, W>(
    broker: Arc<Broker>,
    input: FrameReader<R>,
    output: &mut W,
    peer: SocketAddr,
    gone: CancellationToken,
) -> Result<(), WireError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // One in the channel, more in the pipeline, which has the bound that counts.
    let (requests, received) = mpsc::channel(1);
    let unanswered = AtomicUsize::new(0);
    let client = Client {
        host: format!("/{}", peer.ip()).into(),
        gone: gone.clone(),
        session: fetch::Held::default(),
    };
    let pipeline = Pipeline::new(broker.clone(), client);
    let mut writing = pin!(write_answers(pipeline, received, output, &unanswered));
    let reading = pin!(read_requests(&broker, input, requests, &unanswered, &gone));
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

async fn read_requests<R: AsyncRead + Unpin>(
    broker: &Broker,
    mut input: FrameReader<R>,
    requests: mpsc::Sender<Received>,
    unanswered: &AtomicUsize,
    gone: &CancellationToken,
) -> Result<(), WireError> {
    loop {
        let read = tokio::select! {
            biased;
            () = gone.cancelled() => return Ok(()),
            read = next(broker, &mut input, unanswered) => read?,
        };
        let Some((request, space)) = read else {
            return Ok(());
        };
        meter::request(request.header.api);
        tracing::trace!(api = ?request.header.api, version = request.header.version, "kafka request");
        unanswered.fetch_add(1, Ordering::Relaxed);
        if requests.send((request, space)).await.is_err() {
            return Ok(());
        }
    }
}

/// The next request; `None` when the client has left or has nothing to say.
async fn next<R: AsyncRead + Unpin>(
    broker: &Broker,
    input: &mut FrameReader<R>,
    unanswered: &AtomicUsize,
) -> Result<Option<Received>, WireError> {
    let idle = broker.config.max_idle;
    loop {
        match timeout(idle, input.begins()).await {
            Ok(Ok(true)) => break,
            Ok(Ok(false)) => return Ok(None),
            Ok(Err(error)) => return Err(error),
            // Its turn is ours.
            Err(_) if unanswered.load(Ordering::Relaxed) > 0 => {}
            Err(_) => {
                meter::closed("idle");
                return Ok(None);
            }
        }
    }
    let Some(head) = input.head(broker.config.max_request_bytes).await? else {
        return Ok(None);
    };
    receive(broker, input, &head).await.map(Some)
}

/// Reads a request and decodes it. Room is taken for what has arrived and holds what it claims: a
/// client that claims much and sends little takes none.
async fn receive<R: AsyncRead + Unpin>(
    broker: &Broker,
    input: &mut FrameReader<R>,
    head: &Head,
) -> Result<Received, WireError> {
    let begun = input.begin(head).await?;
    let space = if begun.is_whole() {
        None
    } else {
        Some(broker.request_space(head.frame_len()).await)
    };
    let frame = input.finish(begun).await?;
    meter::received(LENGTH + frame.len());
    let bad = |_: &WireError| meter::closed("bad_request");
    let shaped = wire::shape(frame).inspect_err(bad)?;
    let space = match space {
        None => {
            let bytes = shaped.frame_len() + shaped.decoded_bytes();
            broker.request_space(bytes).await
        }
        Some(space) => space.beside(broker.decoded.take(shaped.decoded_bytes()).await),
    };
    Ok((shaped.decode().inspect_err(bad)?, space))
}

async fn write_answers<W: AsyncWrite + Unpin>(
    mut pipeline: Pipeline,
    mut received: mpsc::Receiver<Received>,
    output: &mut W,
    unanswered: &AtomicUsize,
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
                    frames::write(output, frame).await?;
                }
                unanswered.fetch_sub(1, Ordering::Relaxed);
                drop(space);
            }
        }
    }
    Ok(())
}
