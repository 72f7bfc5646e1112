//! What surrounds every operation: ids, counters, whom it is for.

use std::net::{IpAddr, Ipv4Addr};

use access::Caller;
use s3s::header::{CONTENT_TYPE, X_AMZ_REQUEST_ID};
use s3s::{S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use super::unquoted::access_key;
use super::{ClientAddress, Door};
use crate::Requester;

/// The header names and values of a request or an answer.
pub(super) type Headers = hyper::HeaderMap;

/// One request, parsed and verified.
pub(super) struct Call<I> {
    pub(super) input: I,
    pub(super) caller: Caller,
    pub(super) requester: Requester,
    pub(super) method: hyper::Method,
    pub(super) headers: Headers,
    pub(super) trailers: Option<TrailingHeaders>,
}

/// What an operation answers: its output, or a response where S3 has headers that outputs lack.
pub(super) trait Answer<O> {
    fn into_response(self) -> S3Response<O>;
}

impl<O> Answer<O> for O {
    fn into_response(self) -> S3Response<O> {
        S3Response::new(self)
    }
}

impl<O> Answer<O> for S3Response<O> {
    fn into_response(self) -> Self {
        self
    }
}

impl Door {
    /// Answers one request, and counts it.
    pub(super) async fn answer<I, O, A, F>(
        &self,
        operation: &'static str,
        request: S3Request<I>,
        work: impl FnOnce(Call<I>) -> F,
    ) -> S3Result<S3Response<O>>
    where
        F: Future<Output = S3Result<A>>,
        A: Answer<O>,
    {
        let key = access_key(request.credentials.as_ref(), &request.extensions);
        let Some(key) = key else {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        };
        let principal = format!("AWS:{key}");
        let Some(caller) = request.extensions.get::<Caller>().cloned() else {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        };
        let address = request.extensions.get::<ClientAddress>();
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let requester = Requester::new(principal, address.map_or(unknown, |client| client.0));
        let (id, extended) = (
            requester.request_id.clone(),
            requester.extended_request_id.clone(),
        );
        let call = Call {
            input: request.input,
            caller,
            requester,
            method: request.method,
            headers: request.headers,
            trailers: request.trailing_headers,
        };
        let outcome = work(call).await;
        let code = outcome.as_ref().map_or_else(
            |error| error.code().as_str().to_owned(),
            |_| "OK".to_owned(),
        );
        metrics::counter!("tidemill_s3_requests_total", "operation" => operation, "code" => code)
            .increment(1);
        match outcome {
            Ok(output) => {
                let mut response = output.into_response();
                identify(&mut response.headers, &id, &extended);
                Ok(response)
            }
            Err(mut error) => {
                let mut headers = error.headers().cloned().unwrap_or_default();
                identify(&mut headers, &id, &extended);
                // Headers of an error replace those that `s3s` sets.
                headers.insert(
                    CONTENT_TYPE,
                    hyper::header::HeaderValue::from_static("application/xml"),
                );
                error.set_headers(headers);
                error.set_request_id(id);
                Err(error)
            }
        }
    }
}

fn identify(headers: &mut Headers, id: &str, extended: &str) {
    let value = |text: &str| text.parse().expect("ids are hexadecimal");
    headers.insert(X_AMZ_REQUEST_ID, value(id));
    headers.insert("x-amz-id-2", value(extended));
}
