//! One port for everything that speaks HTTP.
//!
//! AWS requests are told apart by the service in their signature's scope, so that one
//! `AWS_ENDPOINT_URL` is enough. Unsigned requests reach health, metrics and the dashboard; whatever
//! else is unsigned goes to S3, which refuses it in words that S3 clients understand, or to the
//! Lambda API where the path is one of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long open requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// How long to leave the socket alone when the system is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who answers what.
#[derive(Clone)]
pub(crate) struct Front {
    /// Buckets and objects.
    pub(crate) s3: S3Door,
    /// The Lambda API.
    pub(crate) lambda: Router,
    /// What our own command line asks; checks signatures itself.
    pub(crate) admin: Router,
    /// The dashboard; checks its own token.
    pub(crate) dashboard: Router,
    /// Notifications of other stores; checks their own tokens.
    pub(crate) notifications: Router,
    /// `/health` and `/metrics`.
    pub(crate) open: Router,
}

/// Who answers S3 requests.
#[derive(Clone)]
pub(crate) enum S3Door {
    /// Our own buckets.
    Buckets(s3s::service::S3Service),
    /// Nobody: buckets are elsewhere, as the text says.
    Rests(Arc<str>),
}

enum Door {
    S3,
    Lambda,
    Admin,
    Dashboard,
    Notifications,
    Open,
    Unknown(String),
}

impl Front {
    /// Serves `listener` until `stop`, then lets open requests finish.
    pub(crate) async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let front = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "accept a connection");
                        // Out of descriptors: accepting again at once would spin. A connection that
                        // ends frees one, else try again soon.
                        tokio::select! {
                            () = stop.cancelled() => break,
                            Some(_) = connections.join_next() => {}
                            () = tokio::time::sleep_until(Instant::now() + ACCEPT_PAUSE) => {}
                        }
                        continue;
                    }
                },
            };
            let _ = stream.set_nodelay(true);
            let connection = serve_connection(Arc::clone(&front), peer, stream);
            connections.spawn(graceful.watch(connection));
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(open = connections.len(), "connections are cut off");
        }
        connections.shutdown().await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match door(&parts) {
            Door::S3 => self.s3.answer(parts, body).await,
            Door::Lambda => route(&self.lambda, parts, body).await,
            Door::Admin => route(&self.admin, parts, body).await,
            Door::Dashboard => route(&self.dashboard, parts, body).await,
            Door::Notifications => route(&self.notifications, parts, body).await,
            Door::Open => route(&self.open, parts, body).await,
            Door::Unknown(service) => plain(
                StatusCode::BAD_REQUEST,
                format!("service {service:?} is not served here: use s3 or lambda\n"),
            ),
        }
    }
}

impl S3Door {
    async fn answer(&self, parts: http::request::Parts, body: Incoming) -> Response<Body> {
        let service = match self {
            Self::Buckets(service) => service,
            Self::Rests(reason) => return bucket::s3::not_here(reason).map(Body::new),
        };
        let request = Request::from_parts(parts, s3s::Body::from(body));
        match service.call(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => {
                tracing::error!(?error, "answer an S3 request");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
            }
        }
    }
}

fn serve_connection(
    front: Arc<Front>,
    peer: SocketAddr,
    stream: tokio::net::TcpStream,
) -> auto::UpgradeableConnection<
    'static,
    TokioIo<tokio::net::TcpStream>,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send,
    >,
    TokioExecutor,
> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request
            .extensions_mut()
            .insert(bucket::s3::ClientAddress(peer.ip()));
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned()
}

fn door(parts: &http::request::Parts) -> Door {
    if let Some(service) = api::sigv4::scope_service(parts) {
        return match service.as_str() {
            "s3" => Door::S3,
            "lambda" => Door::Lambda,
            crate::admin::SERVICE => Door::Admin,
            _ => Door::Unknown(service),
        };
    }
    match parts.uri.path() {
        "/health" | "/metrics" => Door::Open,
        "/" if is_page_request(parts) => Door::Dashboard,
        path if path.starts_with("/dashboard/") => Door::Dashboard,
        path if path.starts_with(crate::connectors::NOTIFICATIONS) => Door::Notifications,
        path if path.starts_with(crate::admin::PREFIX) => Door::Admin,
        path if is_lambda_path(path) => Door::Lambda,
        _ => Door::S3,
    }
}

/// A browser asks for `/` with `Accept: text/html`; an S3 client that lists buckets does not.
fn is_page_request(parts: &http::request::Parts) -> bool {
    parts.method == http::Method::GET
        && parts
            .headers
            .get(http::header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"))
}

/// The Lambda API's paths begin with the date of their version: `/2015-03-31/functions`.
fn is_lambda_path(path: &str) -> bool {
    let Some((date, _)) = path.strip_prefix('/').and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

async fn route(router: &Router, parts: http::request::Parts, body: Incoming) -> Response<Body> {
    let request = Request::from_parts(parts, Body::new(body.map_err(axum::Error::new)));
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_paths_are_told_from_bucket_paths() {
        assert!(is_lambda_path("/2015-03-31/functions"));
        assert!(!is_lambda_path("/2015-03-31"));
        assert!(!is_lambda_path("/my-bucket/2015-03-31/functions"));
        assert!(!is_lambda_path("/20150331ab/functions"));
    }
}
