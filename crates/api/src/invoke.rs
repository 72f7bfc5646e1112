//! Invoke.

use std::fmt::Write as _;

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dispatcher::{FunctionResult, InvokeError, InvokeRequest, InvokeResponse, Throttle};
use function::limits::{ASYNC_PAYLOAD_BYTES, CLIENT_CONTEXT_BYTES};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::functions::expect_active;
use crate::router::{Request, empty};
use crate::{ApiError, State};

/// Headers of parameters that are not applied.
const NOT_APPLIED: [(&str, &str); 2] = [
    ("x-amz-durable-execution-name", "DurableExecutionName"),
    ("x-amz-tenant-id", "TenantId"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    RequestResponse,
    Event,
    DryRun,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LogType {
    None,
    Tail,
}

pub(crate) async fn invoke(state: &State, request: Request) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let kind = kind(&request.headers)?;
    let log_type = log_type(&request.headers)?;
    for (header, parameter) in NOT_APPLIED {
        if request.headers.contains_key(header) {
            return Err(ApiError::InvalidParameter(format!(
                "{parameter} is not supported by this server: leave it out"
            )));
        }
    }
    let client_context = client_context(&request.headers)?;
    expect_active(state.expect_version(&target)?.as_ref())?;
    if kind == Kind::Event && request.body.len() > ASYNC_PAYLOAD_BYTES {
        return Err(ApiError::PayloadTooLarge {
            limit: ASYNC_PAYLOAD_BYTES,
        });
    }
    let payload = payload(request.body)?;
    let invocation = InvokeRequest {
        target,
        request_id: request.request_id.clone(),
        payload,
        client_context,
        trace_id: text(&request.headers, "x-amzn-trace-id").map(str::to_owned),
    };
    let failed = |error| failure(state, &request.request_id, log_type, error);
    match kind {
        Kind::DryRun => Ok(empty(StatusCode::NO_CONTENT)),
        Kind::Event => match state.invoker.enqueue(invocation).await {
            Ok(()) => Ok(empty(StatusCode::ACCEPTED)),
            Err(error) => failed(error),
        },
        Kind::RequestResponse => match state.invoker.invoke(invocation).await {
            Ok(response) => Ok(shown(response, log_type)),
            Err(error) => failed(error),
        },
    }
}

fn shown(response: InvokeResponse, log_type: LogType) -> Response {
    let (body, error) = match response.result {
        FunctionResult::Success(body) => (body, None),
        FunctionResult::FunctionError(body) => (body, Some("Unhandled")),
    };
    let mut shown = body.into_response();
    let headers = shown.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let version = HeaderValue::from_str(&response.executed_version.to_string());
    headers.insert(
        "x-amz-executed-version",
        version.expect("a version is legal in a header"),
    );
    if let Some(error) = error {
        headers.insert("x-amz-function-error", HeaderValue::from_static(error));
    }
    if log_type == LogType::Tail {
        let tail = HeaderValue::from_str(&STANDARD.encode(&response.log_tail));
        headers.insert(
            "x-amz-log-result",
            tail.expect("base64 is legal in a header"),
        );
    }
    shown
}

/// What the caller sees of an invocation that did not run. A package that cannot be started is the
/// function's error, as with AWS; the rest is the service's.
fn failure(
    state: &State,
    request_id: &str,
    log_type: LogType,
    error: InvokeError,
) -> Result<Response, ApiError> {
    match error {
        InvokeError::UnknownFunction { target } => Err(state.not_found(&target)),
        InvokeError::Throttled { reason, .. } => Err(ApiError::Throttled {
            message: "Rate Exceeded.".to_owned(),
            reason: match reason {
                Throttle::Account => "ConcurrentInvocationLimitExceeded",
                Throttle::Reserved => "ReservedFunctionConcurrentInvocationLimitExceeded",
            },
        }),
        InvokeError::Launch { ref source, .. } if source.is_transient() => {
            Err(ApiError::service(&error))
        }
        InvokeError::Launch {
            version, source, ..
        } => Ok(shown(
            InvokeResponse {
                result: FunctionResult::FunctionError(source.body(request_id)),
                log_tail: Bytes::new(),
                executed_version: version,
            },
            log_type,
        )),
        error @ InvokeError::Unavailable { .. } => Err(ApiError::service(&error)),
    }
}

/// The event: JSON, `{}` for nothing.
fn payload(body: Bytes) -> Result<Bytes, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Bytes::from_static(b"{}"));
    }
    match serde_json::from_slice::<IgnoredAny>(&body) {
        Ok(IgnoredAny) => Ok(body),
        Err(error) => Err(ApiError::InvalidRequestContent(format!(
            "Could not parse request body into json: {error}"
        ))),
    }
}

fn kind(headers: &HeaderMap) -> Result<Kind, ApiError> {
    match text(headers, "x-amz-invocation-type") {
        None | Some("RequestResponse") => Ok(Kind::RequestResponse),
        Some("Event") => Ok(Kind::Event),
        Some("DryRun") => Ok(Kind::DryRun),
        Some(other) => Err(not_in_set(
            "invocationType",
            other,
            "[Event, RequestResponse, DryRun]",
        )),
    }
}

fn log_type(headers: &HeaderMap) -> Result<LogType, ApiError> {
    match text(headers, "x-amz-log-type") {
        None | Some("None") => Ok(LogType::None),
        Some("Tail") => Ok(LogType::Tail),
        Some(other) => Err(not_in_set("logType", other, "[None, Tail]")),
    }
}

fn client_context(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(context) = text(headers, "x-amz-client-context").filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    if context.len() > CLIENT_CONTEXT_BYTES {
        return Err(ApiError::InvalidRequestContent(format!(
            "Client context must be smaller than {CLIENT_CONTEXT_BYTES} bytes"
        )));
    }
    let json = STANDARD.decode(context).ok();
    let json = json.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
    match json {
        Some(json) => Ok(Some(ascii(&Value::Object(json)))),
        None => Err(ApiError::InvalidRequestContent(
            "Client context must be a valid Base64-encoded JSON object.".to_owned(),
        )),
    }
}

/// JSON on one line, in ASCII: runtimes are handed it in a header.
fn ascii(json: &Value) -> String {
    let mut text = String::new();
    for letter in json.to_string().chars() {
        if letter.is_ascii() {
            text.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

fn not_in_set(member: &str, value: &str, set: &str) -> ApiError {
    ApiError::Validation(format!(
        "Value '{value}' at '{member}' failed to satisfy constraint: Member must satisfy enum \
         value set: {set}"
    ))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_context_becomes_json_that_a_header_can_carry() {
        let mut headers = HeaderMap::new();
        let context = STANDARD.encode("{\n \"custom\": {\"a\": \"é😀\"}}");
        headers.insert("x-amz-client-context", context.parse().unwrap());
        let context = client_context(&headers).unwrap().unwrap();
        assert_eq!(context, r#"{"custom":{"a":"\u00e9\ud83d\ude00"}}"#);
        let back: Value = serde_json::from_str(&context).unwrap();
        assert_eq!(back["custom"]["a"], "é😀");
    }
}
