//! Signatures in front of a router.

use access::Caller;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http_body_util::BodyExt as _;

use super::{SignatureError, Verifier};
use crate::ApiError;

/// Bytes of a request to a router behind [`require`].
const BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a body that is too large which are still read and dropped, so that the client gets to
/// see the answer instead of a closed connection.
const DROPPED_BYTES: usize = 128 * 1024 * 1024;

/// Why a request was not let in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Its signature does not hold.
    Signature(SignatureError),
    /// It has more bytes than allowed.
    TooLarge,
    /// It broke off.
    Broken(axum::Error),
}

/// Puts a check of signatures for `service` in front of `router`: it sees only verified requests of
/// at most 1 MiB, of callers who may call the service: `<service>:Call` on `*`.
pub fn require(router: Router, verifier: Verifier, service: &'static str) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let verifier = verifier.clone();
        async move { admit(&verifier, service, request, next).await }
    }))
}

async fn admit(verifier: &Verifier, service: &str, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match authenticate(verifier, service, &parts, body, BODY_BYTES).await {
        Ok((body, caller)) => match caller.check(&format!("{service}:Call"), "*") {
            Ok(()) => next.run(Request::from_parts(parts, Body::from(body))).await,
            Err(denied) => ApiError::from(denied).into_response(),
        },
        Err(Refused::Signature(error)) => ApiError::from(error).into_response(),
        Err(Refused::TooLarge) => ApiError::request_entity_too_large(BODY_BYTES).into_response(),
        Err(Refused::Broken(error)) => ApiError::broken_request(&error).into_response(),
    }
}

/// Reads the body of a request and verifies both; returns the body and whose key signed them.
pub(crate) async fn authenticate(
    verifier: &Verifier,
    service: &str,
    parts: &Parts,
    body: Body,
    limit: usize,
) -> Result<(Bytes, Caller), Refused> {
    let pending = verifier
        .verify_head(service, parts)
        .map_err(Refused::Signature)?;
    let body = read(body, limit).await?;
    let caller = verifier
        .verify_body(pending, parts, &body)
        .map_err(Refused::Signature)?;
    Ok((body, caller))
}

async fn read(mut body: Body, limit: usize) -> Result<Bytes, Refused> {
    let mut read = BytesMut::new();
    let mut dropped = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Refused::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if dropped == 0 && read.len() + data.len() <= limit {
            read.extend_from_slice(&data);
            continue;
        }
        read = BytesMut::new();
        dropped += data.len();
        if dropped > DROPPED_BYTES {
            break;
        }
    }
    match dropped {
        0 => Ok(read.freeze()),
        _ => Err(Refused::TooLarge),
    }
}
