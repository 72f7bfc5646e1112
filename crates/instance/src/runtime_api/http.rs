//! The Runtime API on the wire.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::exchange::{Event, Exchange, Fault, Refusal, Report};
use super::extensions::Extensions;
use super::{extension_http, telemetry_http};
use crate::outcome::{MAX_RESPONSE_BYTES, error_body};

const PREFIX: &str = "/2018-06-01/runtime/";

/// What is read of a body that is too large, so that its sender, which writes before it reads, gets
/// the refusal instead of a broken connection. More than this ends the connection.
const MAX_DISCARDED_BYTES: u64 = 256 * 1024 * 1024;

/// What is kept of any body. Nothing but an answer need be larger.
const SMALL_BODY_BYTES: usize = 64 * 1024;

const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
/// A trailer of streamed responses, Base64.
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// Serves one connection until the runtime closes it.
pub(crate) async fn connection(
    io: impl Read + Write + Unpin + 'static,
    exchange: Arc<Exchange>,
    extensions: Arc<Extensions>,
) {
    let service = service_fn(move |request| {
        let (exchange, extensions) = (Arc::clone(&exchange), Arc::clone(&extensions));
        async move { handle(&exchange, &extensions, request).await }
    });
    if let Err(error) = http1::Builder::new().serve_connection(io, service).await {
        // Instances end in the middle of a request as a matter of course.
        tracing::debug!(%error, "a runtime's connection ended");
    }
}

/// An error ends the connection.
async fn handle(
    exchange: &Exchange,
    extensions: &Extensions,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if !is_from_a_runtime(request.headers()) {
        return Ok(plain(StatusCode::FORBIDDEN, Bytes::new()));
    }
    let path = request.uri().path();
    if let Some(resource) = path.strip_prefix(extension_http::PREFIX) {
        let resource = resource.to_owned();
        return extension_http::handle(extensions, &resource, request).await;
    }
    if path == telemetry_http::PATH {
        return extension_http::subscribe(extensions, request).await;
    }
    if let Some(response) = extension_http::logs_api(path) {
        read(request, Room::Small).await?;
        return Ok(response);
    }
    let path = path.strip_prefix(PREFIX).unwrap_or("");
    let path: Vec<&str> = path.split('/').collect();
    let answered = match (request.method(), path.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => match exchange.next().await {
            Ok(event) => return Ok(event_response(event)),
            Err(refusal) => Err(refusal),
        },
        (&Method::POST, ["invocation", request_id, "response"]) => {
            let request_id = (*request_id).to_owned();
            match exchange.is_running(&request_id) {
                Ok(()) => return respond(exchange, &request_id, request).await,
                Err(refusal) => Err(refusal),
            }
        }
        (&Method::POST, ["invocation", request_id, "error"]) => {
            let request_id = (*request_id).to_owned();
            let body = read(request, Room::Large(&exchange.large_bodies)).await?;
            exchange.answer(&request_id, Report::Error(body.fault()))
        }
        (&Method::POST, ["init", "error"]) => {
            let body = read(request, Room::Large(&exchange.large_bodies)).await?;
            exchange.fail_initialisation(body.fault())
        }
        _ => return Ok(plain(StatusCode::NOT_FOUND, Bytes::new())),
    };
    Ok(acknowledge(answered))
}

/// Whether a request can be a runtime's. What a browser sends has an origin, or the name of a site
/// whose owner has pointed it at this interface; runtimes use the address that they were told.
fn is_from_a_runtime(headers: &HeaderMap) -> bool {
    let addressed = match headers.get(http::header::HOST).map(HeaderValue::to_str) {
        None => true,
        Some(Ok(host)) => {
            let bare = host.rsplit_once(':').map_or(host, |(name, _)| name);
            host.parse::<IpAddr>().is_ok() || bare.parse::<IpAddr>().is_ok() || bare == "localhost"
        }
        Some(Err(_)) => false,
    };
    addressed && !headers.contains_key(http::header::ORIGIN)
}

async fn respond(
    exchange: &Exchange,
    request_id: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = read(request, Room::Large(&exchange.large_bodies)).await?;
    if body.size > MAX_RESPONSE_BYTES as u64 {
        return Ok(
            match exchange.answer(request_id, Report::TooLarge(body.size)) {
                Ok(()) => too_large(),
                Err(refusal) => acknowledge(Err(refusal)),
            },
        );
    }
    // A streamed response may fail after it has begun; the trailers say so.
    let report = match body.streamed_fault() {
        Some(fault) => Report::Error(fault),
        None => Report::Response(body.bytes),
    };
    Ok(acknowledge(exchange.answer(request_id, report)))
}

/// A request's body, kept up to the limit.
pub(super) struct Body {
    headers: HeaderMap,
    pub(super) bytes: Bytes,
    size: u64,
    trailers: HeaderMap,
}

/// How much of a body is kept, so that connections, of which there may be many, cannot fill the memory.
#[derive(Clone, Copy)]
pub(super) enum Room<'a> {
    /// [`SMALL_BODY_BYTES`].
    Small,
    /// As much as an answer may have, in one of so many places. Who has none waits.
    Large(&'a Semaphore),
}

pub(super) async fn read(request: Request<Incoming>, room: Room<'_>) -> Result<Body, hyper::Error> {
    let mut most = SMALL_BODY_BYTES;
    let mut _place = None;
    let (head, mut incoming) = request.into_parts();
    let mut kept = BytesMut::new();
    let mut size = 0;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                size += data.len() as u64;
                if let Room::Large(places) = room
                    && size > most as u64
                    && most < MAX_RESPONSE_BYTES
                {
                    // They are never closed.
                    _place = places.acquire().await.ok();
                    most = MAX_RESPONSE_BYTES;
                }
                if size <= most as u64 {
                    kept.extend_from_slice(&data);
                } else if size > MAX_DISCARDED_BYTES {
                    break;
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(Body {
        headers: head.headers,
        bytes: kept.freeze(),
        size,
        trailers,
    })
}

impl Body {
    /// The error that the body describes. Not every runtime sends its type as a header.
    fn fault(self) -> Fault {
        let named = text(&self.headers, ERROR_TYPE);
        Fault {
            error_type: named.unwrap_or_else(|| error_type(&self.bytes)),
            body: self.bytes,
        }
    }

    fn streamed_fault(&self) -> Option<Fault> {
        let error_type = text(&self.trailers, ERROR_TYPE)?;
        let encoded = self.trailers.get(ERROR_BODY);
        let body = encoded.and_then(|value| STANDARD.decode(value).ok());
        let body = body.map_or_else(|| error_body(&error_type, ""), Bytes::from);
        Some(Fault { error_type, body })
    }
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The type in an error's body, or the emulator's word for none.
fn error_type(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "errorType")]
        error_type: String,
    }
    match serde_json::from_slice::<Typed>(body) {
        Ok(typed) => typed.error_type,
        Err(_) => "Runtime.Unknown".to_owned(),
    }
}

fn event_response(event: Event) -> Response<Full<Bytes>> {
    let Event {
        invocation,
        deadline,
    } = event;
    let mut response = plain(StatusCode::OK, invocation.payload);
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        // A value that no header can carry came from a caller and is of no use to the runtime.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let deadline = deadline.as_millis().to_string();
    set("lambda-runtime-aws-request-id", &invocation.request_id);
    set("lambda-runtime-deadline-ms", &deadline);
    set("lambda-runtime-invoked-function-arn", &invocation.arn);
    if let Some(trace_id) = &invocation.trace_id {
        set("lambda-runtime-trace-id", trace_id);
    }
    if let Some(context) = &invocation.client_context {
        set("lambda-runtime-client-context", context);
    }
    response
}

/// The answers of AWS's runtime interface emulator.
fn acknowledge(answered: Result<(), Refusal>) -> Response<Full<Bytes>> {
    match answered {
        Ok(()) => plain(
            StatusCode::ACCEPTED,
            Bytes::from_static(b"{\"status\":\"OK\"}\n"),
        ),
        Err(Refusal::UnknownRequest) => plain(
            StatusCode::BAD_REQUEST,
            error_body("InvalidRequestID", "Invalid request ID"),
        ),
        Err(Refusal::OutOfTurn) => plain(
            StatusCode::FORBIDDEN,
            error_body(
                "InvalidStateTransition",
                "the request does not fit what the runtime is doing",
            ),
        ),
    }
}

fn too_large() -> Response<Full<Bytes>> {
    let message = format!("Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).");
    plain(
        StatusCode::PAYLOAD_TOO_LARGE,
        error_body("RequestEntityTooLarge", &message),
    )
}

pub(super) fn plain(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_send_is_not_a_runtimes() {
        let request = |headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            is_from_a_runtime(&pairs.collect())
        };
        for host in [
            "127.0.0.1:9001",
            "127.0.0.1",
            "localhost:1",
            "169.254.100.1:9001",
        ] {
            assert!(request(&[("host", host)]), "{host}");
            assert!(
                !request(&[("host", host), ("origin", "http://a")]),
                "{host}"
            );
        }
        assert!(request(&[]));
        for host in [
            "rebound.example:9001",
            "127.0.0.1.example",
            "localhost.example:9001",
            "",
        ] {
            assert!(!request(&[("host", host)]), "{host}");
        }
    }
}
