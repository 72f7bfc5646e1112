//! The answer of a door that rests.

use http::{Response, StatusCode, header};

/// What S3 clients are told where there are no buckets: the error `NotImplemented` with `reason`, in
/// words that they understand. No request is read, so none is verified.
#[must_use]
pub fn not_here(reason: &str) -> Response<s3s::Body> {
    let mut text = String::with_capacity(reason.len());
    for character in reason.chars() {
        match character {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            other => text.push(other),
        }
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NotImplemented</Code><Message>{text}</Message></Error>"
    );
    let mut response = Response::new(s3s::Body::from(body));
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    let xml = header::HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    response
}
