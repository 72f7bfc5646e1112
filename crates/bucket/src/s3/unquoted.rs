//! Entity tags without quotes in conditions.
//!
//! Events carry tags without quotes, and clients pass them on as they are; AWS takes them so. `s3s` takes
//! those of letters, digits and dashes, as objects have here, and refuses others, as connected folders' files
//! have. Quotes cannot be put around one before `s3s` sees it, for the signature is of the header as it was
//! sent. So requests with such a header take a way of their own, which `s3s` has for that ([`S3Route`]):
//! it verifies them as they are and hands them over, and they go, with quotes, to a second service, which
//! believes the first.

use async_trait::async_trait;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::http::Extensions;
use hyper::{Method, Uri};
use s3s::auth::Credentials;
use s3s::dto::ETagCondition;
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

/// The headers that have a condition on an entity tag.
const CONDITIONS: [HeaderName; 4] = [
    IF_MATCH,
    IF_NONE_MATCH,
    HeaderName::from_static("x-amz-copy-source-if-match"),
    HeaderName::from_static("x-amz-copy-source-if-none-match"),
];

/// The way of requests with tags that `s3s` does not take.
pub(super) struct Unquoted {
    /// Gets requests whose signatures were verified and taken away.
    pub(super) believing: S3Service,
}

/// The public half of the key whose signature has been verified, in a request's extensions.
#[derive(Clone)]
struct Verified(String);

/// The public half of the key that a request is signed with; `None` when it is not signed.
pub(super) fn access_key<'a>(
    credentials: Option<&'a Credentials>,
    extensions: &'a Extensions,
) -> Option<&'a str> {
    match credentials {
        Some(credentials) => Some(&credentials.access_key),
        None => extensions
            .get::<Verified>()
            .map(|Verified(key)| key.as_str()),
    }
}

#[async_trait]
impl S3Route for Unquoted {
    /// Whether it is a request for something there is, without a body, and signed by a header: what else
    /// signatures are in would be verified once more.
    fn is_match(
        &self,
        method: &Method,
        _uri: &Uri,
        headers: &HeaderMap,
        _extensions: &mut Extensions,
    ) -> bool {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        (reads || headers.contains_key(COPY_SOURCE))
            && headers.contains_key(AUTHORIZATION)
            && CONDITIONS
                .iter()
                .any(|name| headers.get(name).is_some_and(|it| quoted(it).is_some()))
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let Some(credentials) = request.credentials else {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        };
        let mut believed = hyper::Request::new(request.input);
        *believed.method_mut() = request.method;
        *believed.uri_mut() = request.uri;
        *believed.headers_mut() = request.headers;
        *believed.extensions_mut() = request.extensions;
        believed
            .extensions_mut()
            .insert(Verified(credentials.access_key));
        let headers = believed.headers_mut();
        headers.remove(AUTHORIZATION);
        for name in &CONDITIONS {
            if let Some(value) = headers.get(name).and_then(quoted) {
                headers.insert(name, value);
            }
        }
        let answer = self.believing.call(believed).await;
        let failed =
            |error: HttpError| S3Error::with_source(S3ErrorCode::InternalError, error.into());
        let answer = answer.map_err(failed)?;
        let (parts, body) = answer.into_parts();
        let mut response = S3Response::new(body);
        response.status = Some(parts.status);
        response.headers = parts.headers;
        response.extensions = parts.extensions;
        Ok(response)
    }
}

/// A tag with quotes that `s3s` does not take without; `None` for all else.
fn quoted(value: &HeaderValue) -> Option<HeaderValue> {
    let tag = value.as_bytes();
    if tag.is_empty() || tag.contains(&b'"') || ETagCondition::parse_http_header(tag).is_ok() {
        return None;
    }
    let quoted = HeaderValue::from_bytes(&[b"\"", tag, b"\""].concat()).ok()?;
    let is_taken = ETagCondition::parse_http_header(quoted.as_bytes()).is_ok();
    is_taken.then_some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_put_around_what_would_be_refused_without() {
        let quoted = |text: &str| quoted(&HeaderValue::from_str(text).unwrap());
        assert_eq!(quoted("3f-66.1b-5").unwrap(), "\"3f-66.1b-5\"");
        for taken in [
            "*",
            "d41d8cd9-2",
            "\"3f.1\"",
            "W/\"3f.1\"",
            "",
            "\"3f.1",
            "\"a.1\", \"b.1\"",
        ] {
            assert_eq!(quoted(taken), None, "{taken}");
        }
    }
}
