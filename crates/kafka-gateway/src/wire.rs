//! Frames, headers and the codec.
//!
//! A request is scanned before it is decoded: the codec sets memory aside for as many elements as a
//! frame claims, so every claim is checked against the bytes that are there.

mod requests;
mod scan;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, RequestHeader, RequestKind, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::apis;
use crate::sasl::Denied;

/// Bytes in front of a frame: its length.
pub(crate) const LENGTH: usize = 4;
/// Bytes of a request that every header has: API, version, correlation id.
pub(crate) const FIXED_HEADER: usize = 8;
/// Bytes in memory of one decoded array element or tagged field, and of its part of an answer.
const ELEMENT: usize = 256;
/// The largest request that carries no records.
const MAX_WITHOUT_RECORDS: usize = 16 << 20;

/// Why a connection is closed. Nothing can be answered to such a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("a frame claims {len} bytes, between {FIXED_HEADER} and {limit} are taken")]
    FrameLength { len: i64, limit: usize },
    #[error("api {key} in version {version} is not known")]
    UnknownApi { key: i16, version: i16 },
    #[error("{api:?} in version {version} is not served")]
    NotServed { api: ApiKey, version: i16 },
    #[error("{api:?} in version {version} is malformed: {reason}")]
    Malformed {
        api: ApiKey,
        version: i16,
        reason: String,
    },
    #[error("the answer to {api:?} in version {version} could not be encoded: {reason}")]
    Encode {
        api: ApiKey,
        version: i16,
        reason: String,
    },
    #[error("the client asked for api {key} before it had authenticated")]
    NotAuthenticated { key: i16 },
    #[error("the client wants a SASL mechanism that there is not")]
    UnknownMechanism,
    #[error("the client was not let in")]
    Denied(#[from] Denied),
    #[error("the TLS handshake failed; clients of this port must use TLS")]
    Handshake(#[source] std::io::Error),
    #[error("records were sent without waiting for an answer and refused")]
    RefusedUnheard,
    #[error("the client made no progress in time")]
    Stalled,
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
}

/// What a request says before its body.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
    pub(crate) client_id: String,
}

/// A request as decoded.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) header: Header,
    pub(crate) body: Body,
}

/// What is asked.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every body is the large one"
)]
pub(crate) enum Body {
    /// A request of a version that is served.
    Served(RequestKind),
    /// `ApiVersions` in a version from the future: the one request that is answered all the same.
    FutureApiVersions,
}

/// The largest frame that is read when it begins with these bytes.
pub(crate) fn limit(fixed_header: &[u8; FIXED_HEADER], max_request_bytes: usize) -> usize {
    let key = i16::from_be_bytes([fixed_header[0], fixed_header[1]]);
    if key == ApiKey::Produce as i16 {
        max_request_bytes
    } else {
        max_request_bytes.min(MAX_WITHOUT_RECORDS)
    }
}

/// A frame without its length that has the shape of the request it says it is.
#[derive(Debug)]
pub(crate) struct Shaped {
    frame: Bytes,
    header: Header,
    content: Content,
}

/// What a shaped frame holds.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// A request with so many elements.
    Served {
        elements: usize,
    },
    FutureApiVersions,
}

/// Checks that a frame holds what it claims. Nothing is decoded yet.
pub(crate) fn shape(frame: Bytes) -> Result<Shaped, WireError> {
    if frame.len() < FIXED_HEADER {
        return Err(WireError::FrameLength {
            len: i64::try_from(frame.len()).unwrap_or(i64::MAX),
            limit: FIXED_HEADER,
        });
    }
    let key = i16::from_be_bytes([frame[0], frame[1]]);
    let version = i16::from_be_bytes([frame[2], frame[3]]);
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let api = ApiKey::try_from(key).map_err(|()| WireError::UnknownApi { key, version })?;
    let served = apis::find(api).ok_or(WireError::NotServed { api, version })?;
    let (version, content) = if served.takes(version) {
        let walked = scan::walk(&frame, api, version);
        let walked = walked.map_err(|reason| malformed(api, version, reason.to_string()))?;
        let elements = walked.elements;
        (version, Content::Served { elements })
    } else if api == ApiKey::ApiVersions {
        (0, Content::FutureApiVersions)
    } else {
        return Err(WireError::NotServed { api, version });
    };
    Ok(Shaped {
        frame,
        header: Header {
            api,
            version,
            correlation,
            client_id: String::new(),
        },
        content,
    })
}

impl Shaped {
    /// Bytes that its parts take in memory once they are decoded, besides the frame.
    pub(crate) fn decoded_bytes(&self) -> usize {
        match self.content {
            Content::Served { elements } => elements * ELEMENT,
            Content::FutureApiVersions => 0,
        }
    }

    /// Bytes of the frame.
    pub(crate) fn frame_len(&self) -> usize {
        self.frame.len()
    }

    /// Decodes the request. Records share the frame's memory.
    pub(crate) fn decode(self) -> Result<Request, WireError> {
        let Self {
            mut frame,
            mut header,
            content,
        } = self;
        let Header { api, version, .. } = header;
        let body = match content {
            Content::FutureApiVersions => Body::FutureApiVersions,
            Content::Served { .. } => {
                let failed = |error| malformed(api, version, format!("{error:#}"));
                let header_version = api.request_header_version(version);
                let decoded = RequestHeader::decode(&mut frame, header_version).map_err(failed)?;
                decoded
                    .client_id
                    .as_deref()
                    .unwrap_or("")
                    .clone_into(&mut header.client_id);
                Body::Served(RequestKind::decode(api, &mut frame, version).map_err(failed)?)
            }
        };
        Ok(Request { header, body })
    }
}

/// Decodes a frame without its length, however much memory that takes.
pub(crate) fn decode(frame: Bytes) -> Result<Request, WireError> {
    shape(frame)?.decode()
}

fn malformed(api: ApiKey, version: i16, reason: String) -> WireError {
    WireError::Malformed {
        api,
        version,
        reason,
    }
}

/// Encodes an answer as a frame with its length.
pub(crate) fn encode<T: Encodable>(header: &Header, response: &T) -> Result<Bytes, WireError> {
    let Header { api, version, .. } = *header;
    encode_frame(header, response).map_err(|error| WireError::Encode {
        api,
        version,
        reason: format!("{error:#}"),
    })
}

/// The answer to `ApiVersions` from the future: version 0 with the error that makes clients ask
/// again in a version that is listed.
pub(crate) fn encode_future_api_versions(header: &Header) -> Result<Bytes, WireError> {
    let answer: ApiVersionsResponse =
        apis::versions().with_error_code(ResponseError::UnsupportedVersion.code());
    encode(header, &answer)
}

fn encode_frame<T: Encodable>(
    header: &Header,
    response: &T,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let header_version = header.api.response_header_version(header.version);
    let head = ResponseHeader::default().with_correlation_id(header.correlation);
    let len = head.compute_size(header_version)? + response.compute_size(header.version)?;
    let mut frame = BytesMut::with_capacity(LENGTH + len);
    frame.put_i32(i32::try_from(len)?);
    head.encode(&mut frame, header_version)?;
    response.encode(&mut frame, header.version)?;
    if frame.len() != LENGTH + len {
        return Err("computed and encoded sizes disagree".into());
    }
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests;
