//! One client: frames in, answers out.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::{Answer, Broker, Client, Space};
use crate::frames::{self, FrameReader, Head};
use crate::pipeline::{self, Pipeline};
use crate::strangers::Stranger;
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
    let gate = broker.gate.as_ref();
    let stranger = gate.map(|_| broker.strangers.admit(gone.clone()));
    let Some(tls) = &broker.config.security.tls else {
        let (input, output) = stream.into_split();
        return speak(broker, stranger, input, output, peer, gone).await;
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
    speak(broker, stranger, input, output, peer, gone).await
}

async fn speak<R, W>(
    broker: Arc<Broker>,
    stranger: Option<Stranger>,
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
    drop(stranger);
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
    let unanswered = AtomicUsize::new(0);
    let client = Client {
        host: format!("/{}", peer.ip()).into(),
        gone: gone.clone(),
        session: fetch::Held::default(),
    };
    let mut pipeline = Pipeline::new(broker.clone(), client);
    let mut requests = pin!(requests(&broker, input, &unanswered, &gone));
    let mut ended = None;
    while ended.is_none() || !pipeline.is_empty() {
        tokio::select! {
            // What a client sends in a row is submitted in a row.
            biased;
            read = requests.next(), if ended.is_none() && pipeline.len() < pipeline::MAX_IN_FLIGHT => {
                match read {
                    Some(Ok((request, space))) => {
                        unanswered.fetch_add(1, Ordering::Relaxed);
                        pipeline.push(request, space);
                    }
                    Some(Err(error)) => ended = Some(Err(error)),
                    None => ended = Some(Ok(())),
                }
                if ended.is_some() {
                    gone.cancel();
                }
            }
            answer = pipeline.next(), if !pipeline.is_empty() => {
                deliver(answer?, output).await.inspect_err(|_| gone.cancel())?;
                unanswered.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
    ended.unwrap_or(Ok(()))
}

/// Writes an answer; the room that it takes is free afterwards.
async fn deliver<W>(answer: Answer, output: &mut W) -> Result<(), WireError>
where
    W: AsyncWrite + Unpin,
{
    let Answer { frame, space } = answer;
    if let Some(frame) = frame {
        frames::write(output, frame).await?;
    }
    drop(space);
    Ok(())
}

/// What the client asks for, until it has left, has nothing to say, or `gone` is cancelled.
fn requests<R: AsyncRead + Unpin>(
    broker: &Broker,
    input: FrameReader<R>,
    unanswered: &AtomicUsize,
    gone: &CancellationToken,
) -> impl Stream<Item = Result<Received, WireError>> {
    let requests = stream::unfold(input, async move |mut input| {
        let read = next(broker, &mut input, unanswered).await.transpose()?;
        if let Ok((Request { header, .. }, _)) = &read {
            meter::request(header.api);
            tracing::trace!(api = ?header.api, version = header.version, "kafka request");
        }
        Some((read, input))
    });
    requests.take_until(gone.cancelled())
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
