//! The Extensions API on the wire.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use uuid::Uuid;

use super::extensions::{Account, Extensions, Refused};
use super::http::{Room, plain, read, text};
use super::telemetry::Closed;
use super::telemetry_http;
use crate::outcome::error_body;

pub(super) const PREFIX: &str = "/2020-01-01/extension/";

const NAME: &str = "lambda-extension-name";
const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";
const FEATURES: &str = "lambda-extension-accept-feature";

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

/// Answers a request to `resource`, a path below [`PREFIX`]. An error ends the connection.
pub(super) async fn handle(
    extensions: &Extensions,
    resource: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let headers = request.headers().clone();
    let method = request.method().clone();
    let answered = match (&method, resource) {
        (&Method::POST, "register") => {
            let body = read(request, Room::Small).await?;
            register(extensions, &headers, &body.bytes)
        }
        (&Method::GET, "event/next") => match identifier(&headers) {
            Ok(id) => extensions
                .next(id)
                .await
                .map(|event| plain(StatusCode::OK, event)),
            Err(refused) => Err(refused),
        },
        (&Method::POST, "init/error") => {
            read(request, Room::Small).await?;
            fail(extensions, &headers, "Extension.InitError")
        }
        (&Method::POST, "exit/error") => {
            read(request, Room::Small).await?;
            fail(extensions, &headers, "Extension.ExitError")
        }
        _ => return Ok(plain(StatusCode::NOT_FOUND, Bytes::new())),
    };
    Ok(answered.unwrap_or_else(
        |Refused {
             error_type,
             message,
         }| { plain(StatusCode::FORBIDDEN, error_body(error_type, &message)) },
    ))
}

/// Answers a request to [`telemetry_http::PATH`]. An error ends the connection.
pub(super) async fn subscribe(
    extensions: &Extensions,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.method() != Method::PUT {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()));
    }
    let name = identifier(request.headers()).and_then(|id| extensions.name(id));
    let body = read(request, Room::Small).await?;
    let refused = |status,
                   Refused {
                       error_type,
                       message,
                   }| { plain(status, error_body(error_type, &message)) };
    Ok(match name {
        Err(stranger) => refused(StatusCode::FORBIDDEN, stranger),
        Ok(name) => match telemetry_http::parse(name, &body.bytes) {
            Err(invalid) => refused(StatusCode::BAD_REQUEST, invalid),
            Ok(subscription) => match extensions.telemetry().subscribe(subscription) {
                Ok(()) => plain(StatusCode::OK, telemetry_http::OK),
                Err(Closed) => {
                    let message = "Telemetry API subscription is closed";
                    let error = error_body("Telemetry.SubscriptionClosed", message);
                    plain(StatusCode::FORBIDDEN, error)
                }
            },
        },
    })
}

/// What AWS's emulator says of the older Logs API, so that extensions which use it can go on without.
pub(super) fn logs_api(path: &str) -> Option<Response<Full<Bytes>>> {
    let error = || error_body("Logs.NotSupported", "Logs API is not supported");
    (path == "/2020-08-15/logs").then(|| plain(StatusCode::ACCEPTED, error()))
}

fn register(
    extensions: &Extensions,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Full<Bytes>>, Refused> {
    let registration: Registration = serde_json::from_slice(body).map_err(|error| Refused {
        error_type: "InvalidRequestFormat",
        message: error.to_string(),
    })?;
    let name = text(headers, NAME).unwrap_or_default();
    let id = extensions.register(&name, &registration.events)?;
    let features = text(headers, FEATURES).unwrap_or_default();
    let mut features = features.split(',').map(str::trim);
    let account = if features.any(|feature| feature == "accountId") {
        Account::Shown
    } else {
        Account::Hidden
    };
    let mut response = plain(StatusCode::OK, extensions.described(account));
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(IDENTIFIER, id);
    }
    Ok(response)
}

fn fail(
    extensions: &Extensions,
    headers: &HeaderMap,
    error_type: &'static str,
) -> Result<Response<Full<Bytes>>, Refused> {
    let id = identifier(headers)?;
    let told = text(headers, ERROR_TYPE).ok_or_else(|| Refused {
        error_type: "Extension.MissingHeader",
        message: "Lambda-Extension-Function-Error-Type not found".to_owned(),
    })?;
    extensions.fail(id, error_type, &told)?;
    let status = Bytes::from_static(b"{\"status\":\"OK\"}\n");
    Ok(plain(StatusCode::ACCEPTED, status))
}

fn identifier(headers: &HeaderMap) -> Result<Uuid, Refused> {
    let Some(given) = text(headers, IDENTIFIER) else {
        return Err(Refused {
            error_type: "Extension.MissingExtensionIdentifier",
            message: "Missing Lambda-Extension-Identifier header".to_owned(),
        });
    };
    Uuid::parse_str(&given).map_err(|_| Refused {
        error_type: "Extension.InvalidExtensionIdentifier",
        message: "Invalid Lambda-Extension-Identifier".to_owned(),
    })
}
