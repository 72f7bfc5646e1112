//! The Telemetry API on the wire.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use serde::Deserialize;

use super::extensions::Refused;
use super::telemetry::{Buffering, Destination, Stream, Subscription};

pub(super) const PATH: &str = "/2022-07-01/telemetry";

/// The forms of events that there have been (AWS Lambda developer guide and its emulator, 2026). What
/// is told here is the same in all of them.
const SCHEMAS: [&str; 3] = ["2022-07-01", "2022-12-13", "2025-01-29"];

/// What a sandbox calls itself.
const HOSTS: [&str; 2] = ["sandbox.localdomain", "sandbox"];

/// The answer to a subscription.
pub(super) const OK: Bytes = Bytes::from_static(b"\"OK\"");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    schema_version: String,
    types: Vec<String>,
    #[serde(default)]
    buffering: RequestedBuffering,
    destination: RequestedDestination,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestedBuffering {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
struct RequestedDestination {
    protocol: String,
    #[serde(rename = "URI")]
    uri: Option<String>,
}

fn invalid(message: impl Into<String>) -> Refused {
    Refused {
        error_type: "ValidationError",
        message: message.into(),
    }
}

/// What the extension `name` asks for. The bounds are AWS's.
pub(super) fn parse(name: String, body: &[u8]) -> Result<Subscription, Refused> {
    let request: Request =
        serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    if !SCHEMAS.contains(&&*request.schema_version) {
        let version = request.schema_version;
        return Err(invalid(format!("schemaVersion: no such version {version}")));
    }
    if request.types.is_empty() {
        return Err(invalid("types: at least one is needed"));
    }
    let stream = |wanted: &String| {
        let mut all = Stream::ALL.into_iter();
        all.find(|stream| stream.name() == wanted)
            .ok_or_else(|| invalid(format!("types: no such type {wanted}")))
    };
    let streams = request.types.iter().map(stream).collect::<Result<_, _>>()?;
    let within = |member: &str, given: Option<u64>, default: u64, least: u64, most: u64| {
        let given = given.unwrap_or(default);
        if (least..=most).contains(&given) {
            Ok(given)
        } else {
            Err(invalid(format!(
                "buffering.{member}: {given} is not between {least} and {most}"
            )))
        }
    };
    let RequestedBuffering {
        max_items,
        max_bytes,
        timeout_ms,
    } = request.buffering;
    let usual = Buffering::default();
    let items = within("maxItems", max_items, usual.items as u64, 1_000, 10_000)?;
    let bytes = within(
        "maxBytes",
        max_bytes,
        usual.bytes as u64,
        262_144,
        1_048_576,
    )?;
    let usual = u64::try_from(usual.timeout.as_millis()).unwrap_or(u64::MAX);
    let timeout = within("timeoutMs", timeout_ms, usual, 25, 30_000)?;
    Ok(Subscription {
        name,
        streams,
        buffering: Buffering {
            items: usize::try_from(items).unwrap_or(usize::MAX),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            timeout: Duration::from_millis(timeout),
        },
        destination: destination(request.destination)?,
    })
}

fn destination(requested: RequestedDestination) -> Result<Destination, Refused> {
    let RequestedDestination { protocol, uri } = requested;
    if protocol != "HTTP" {
        let message = format!("destination.protocol: {protocol} is not supported, HTTP is");
        return Err(invalid(message));
    }
    let uri: Uri = uri
        .ok_or_else(|| invalid("destination.URI is missing"))?
        .parse()
        .map_err(|error| invalid(format!("destination.URI: {error}")))?;
    let host = uri.host().unwrap_or_default();
    let is_http = uri.scheme() == Some(&http::uri::Scheme::HTTP);
    let authority = uri.authority().map(ToString::to_string);
    match (authority, uri.port_u16()) {
        (Some(authority), Some(port)) if is_http && HOSTS.contains(&host) => Ok(Destination {
            authority,
            port,
            path: uri.path().to_owned(),
        }),
        _ => Err(invalid(format!(
            "destination.URI: {uri} is not http://{}:PORT/",
            HOSTS[0]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request() -> Value {
        json!({
            "schemaVersion": "2022-12-13",
            "types": ["platform", "function"],
            "buffering": {"maxItems": 1000, "timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/in"},
        })
    }

    #[test]
    fn a_subscription_has_awss_defaults() {
        let subscription = parse("a".to_owned(), request().to_string().as_bytes()).unwrap();
        assert_eq!(subscription.streams, [Stream::Platform, Stream::Function]);
        assert_eq!(
            subscription.buffering,
            Buffering {
                items: 1000,
                bytes: 262_144,
                timeout: Duration::from_millis(25),
            }
        );
        let expected = Destination {
            authority: "sandbox.localdomain:4243".to_owned(),
            port: 4243,
            path: "/in".to_owned(),
        };
        assert_eq!(subscription.destination, expected);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let wrong = [
            ("/schemaVersion", json!("1999-01-01"), "schemaVersion"),
            ("/types", json!([]), "types"),
            ("/types", json!(["audit"]), "audit"),
            ("/buffering/maxItems", json!(10), "maxItems"),
            ("/buffering/timeoutMs", json!(30_001), "timeoutMs"),
            ("/destination/protocol", json!("TCP"), "protocol"),
            ("/destination/URI", json!("http://localhost:80/"), "URI"),
            (
                "/destination/URI",
                json!("http://sandbox.localdomain/"),
                "URI",
            ),
            ("/destination/URI", json!("https://sandbox:443/"), "URI"),
        ];
        for (place, value, named) in wrong {
            let mut request = request();
            *request.pointer_mut(place).unwrap() = value;
            let refused = parse("a".to_owned(), request.to_string().as_bytes()).unwrap_err();
            assert_eq!(refused.error_type, "ValidationError");
            assert!(refused.message.contains(named), "{}", refused.message);
        }
    }
}
