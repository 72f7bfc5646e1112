//! The first words on a connection where clients must be known.
//!
//! Until a client has proved that it knows the login, three requests are answered: `ApiVersions`,
//! `SaslHandshake` and `SaslAuthenticate`. Any other ends the connection before it is decoded, and so
//! do refused tokens, frames that are too large and clients that take too long. The pipeline begins
//! after this: it never sees a request of an unknown client.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, RequestKind, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::frames::{self, FrameReader, Head};
use crate::sasl::{Exchange, Gate, MECHANISMS, Step};
use crate::wire::{self, Body, LENGTH, Request, WireError};
use crate::{apis, meter};

/// How long a client may take to become known.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest frame of an unknown client, in bytes. Tokens have some hundred.
const MAX_FRAME: usize = 16 << 10;

/// What unknown clients may ask.
const MAY_ASK: [ApiKey; 3] = [
    ApiKey::ApiVersions,
    ApiKey::SaslHandshake,
    ApiKey::SaslAuthenticate,
];

/// How far the client has come.
enum Stage {
    /// It has not chosen a mechanism.
    Unknown,
    /// It speaks by tokens in `SaslAuthenticate` requests.
    Wrapped(Exchange),
    /// It chose by version 0 of the handshake: tokens are frames of their own, without headers.
    Bare(Exchange),
    /// The login is proved.
    Known,
}

/// Returns when the client is known; `Ok(false)` when it left before.
pub(crate) async fn admit<R, W>(
    gate: &Gate,
    input: &mut FrameReader<R>,
    output: &mut W,
) -> Result<bool, WireError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match timeout(PATIENCE, converse(gate, input, output)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            meter::closed("slow_authentication");
            Err(WireError::Stalled)
        }
    }
}

async fn converse<R, W>(
    gate: &Gate,
    input: &mut FrameReader<R>,
    output: &mut W,
) -> Result<bool, WireError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut stage = Stage::Unknown;
    loop {
        let frame = match &stage {
            Stage::Known => return Ok(true),
            Stage::Bare(_) => input.token(MAX_FRAME).await?,
            Stage::Unknown | Stage::Wrapped(_) => match input.head(MAX_FRAME).await? {
                Some(head) => Some(allowed(input, head).await?),
                None => None,
            },
        };
        let Some(frame) = frame else {
            return Ok(false);
        };
        meter::received(LENGTH + frame.len());
        let (next, answer, closed) = match stage {
            Stage::Bare(exchange) => bare(gate, exchange, &frame)?,
            stage @ (Stage::Unknown | Stage::Wrapped(_) | Stage::Known) => {
                request(gate, stage, frame)?
            }
        };
        frames::write(output, answer).await?;
        if let Some(error) = closed {
            return Err(error);
        }
        stage = next;
    }
}

/// What follows a frame: the next stage, what to send, and the error to close with after it.
type Outcome = (Stage, Bytes, Option<WireError>);

/// Reads the rest of a request that an unknown client may send.
async fn allowed<R>(input: &mut FrameReader<R>, head: Head) -> Result<Bytes, WireError>
where
    R: AsyncRead + Unpin,
{
    let key = head.api_key();
    if MAY_ASK.iter().any(|api| *api as i16 == key) {
        return input.request(head).await;
    }
    meter::closed("not_authenticated");
    Err(WireError::NotAuthenticated { key })
}

fn request(gate: &Gate, stage: Stage, frame: Bytes) -> Result<Outcome, WireError> {
    let Request { header, body } = wire::decode(frame)?;
    let body = match body {
        Body::FutureApiVersions => {
            return Ok((stage, wire::encode_future_api_versions(&header)?, None));
        }
        Body::Served(body) => body,
    };
    match (body, stage) {
        (RequestKind::ApiVersions(_), stage) => {
            Ok((stage, wire::encode(&header, &apis::versions())?, None))
        }
        (RequestKind::SaslHandshake(asked), Stage::Unknown) => {
            let (response, begun) = handshake(gate, &asked);
            let answer = wire::encode(&header, &response)?;
            Ok(match begun {
                Some(exchange) if header.version == 0 => (Stage::Bare(exchange), answer, None),
                Some(exchange) => (Stage::Wrapped(exchange), answer, None),
                None => {
                    meter::closed("unsupported_sasl_mechanism");
                    let error = WireError::UnknownMechanism;
                    (Stage::Unknown, answer, Some(error))
                }
            })
        }
        (RequestKind::SaslAuthenticate(asked), Stage::Wrapped(mut exchange)) => {
            let response = SaslAuthenticateResponse::default();
            match exchange.step(gate, &asked.auth_bytes) {
                Ok(Step::Continue(token)) => {
                    let response = response.with_auth_bytes(token.into());
                    let answer = wire::encode(&header, &response)?;
                    Ok((Stage::Wrapped(exchange), answer, None))
                }
                Ok(Step::Done(token)) => {
                    // A lifetime of nothing: the session lasts as long as the connection.
                    let response = response.with_auth_bytes(token.into());
                    Ok((Stage::Known, wire::encode(&header, &response)?, None))
                }
                Err(denied) => {
                    meter::closed("sasl_authentication_failed");
                    let words = StrBytes::from_string(denied.to_string());
                    let response = response
                        .with_error_code(ResponseError::SaslAuthenticationFailed.code())
                        .with_error_message(Some(words));
                    let answer = wire::encode(&header, &response)?;
                    Ok((Stage::Unknown, answer, Some(denied.into())))
                }
            }
        }
        // Out of turn.
        _ => {
            meter::closed("illegal_sasl_state");
            let key = header.api as i16;
            Err(WireError::NotAuthenticated { key })
        }
    }
}

fn handshake(
    gate: &Gate,
    asked: &SaslHandshakeRequest,
) -> (SaslHandshakeResponse, Option<Exchange>) {
    let begun = gate.begin(&asked.mechanism);
    let code = match begun {
        Some(_) => 0,
        None => ResponseError::UnsupportedSaslMechanism.code(),
    };
    let response = SaslHandshakeResponse::default()
        .with_error_code(code)
        .with_mechanisms(MECHANISMS.map(StrBytes::from_static_str).to_vec());
    (response, begun)
}

fn bare(gate: &Gate, mut exchange: Exchange, token: &[u8]) -> Result<Outcome, WireError> {
    match exchange.step(gate, token) {
        Ok(Step::Continue(token)) => Ok((Stage::Bare(exchange), framed(&token), None)),
        Ok(Step::Done(token)) => Ok((Stage::Known, framed(&token), None)),
        Err(denied) => {
            meter::closed("sasl_authentication_failed");
            Err(denied.into())
        }
    }
}

fn framed(token: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(LENGTH + token.len());
    frame.put_i32(i32::try_from(token.len()).expect("tokens are short"));
    frame.extend_from_slice(token);
    frame.freeze()
}

/// The answer to a handshake where it has no place: on a connection that needs none, or has had its.
pub(crate) fn handshake_out_of_place() -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
}

/// The answer to a token where it has no place.
pub(crate) fn token_out_of_place() -> SaslAuthenticateResponse {
    let words = "this connection does not authenticate now";
    SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::IllegalSaslState.code())
        .with_error_message(Some(StrBytes::from_static_str(words)))
}
