//! The page's paths.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, LOCATION,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::{Access, Hosts, Snapshot};

const PAGE: &str = include_str!("../page/page.html");
const STYLE: &str = include_str!("../page/page.css");
const SCRIPT: &str = include_str!("../page/page.js");
const NO_ACCESS: &str = include_str!("../page/no-access.html");

/// Nothing but our own style, script and data; nobody may frame the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Dashboard<S> {
    snapshot: Arc<S>,
    access: Access,
    hosts: Hosts,
}

#[derive(Deserialize)]
struct Link {
    token: Option<String>,
}

/// The page at `/`, its style and script below `/dashboard/`, and its data at
/// `/dashboard/data.json`.
///
/// Every answer but style and script needs the cookie, which `/?token=…` sets; without it the answer
/// is 401 and a short page that says where to find the link. A host that `hosts` does not contain is
/// answered 421.
pub fn router<S: Snapshot>(snapshot: Arc<S>, access: Access, hosts: Hosts) -> Router {
    let dashboard = Arc::new(Dashboard {
        snapshot,
        access,
        hosts,
    });
    Router::new()
        .route("/", get(page::<S>))
        .route("/dashboard/data.json", get(data::<S>))
        .route("/dashboard/page.css", get(style))
        .route("/dashboard/page.js", get(script))
        .layer(from_fn_with_state(Arc::clone(&dashboard), guard::<S>))
        .with_state(dashboard)
}

async fn guard<S: Snapshot>(
    State(dashboard): State<Arc<Dashboard<S>>>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(HOST).map(HeaderValue::to_str);
    let ours = match (header, request.uri().authority()) {
        (Some(Ok(host)), _) => dashboard.hosts.contains(host),
        (Some(Err(_)), _) | (None, None) => false,
        (None, Some(authority)) => dashboard.hosts.contains(authority.as_str()),
    };
    let mut response = if ours {
        next.run(request).await
    } else {
        let text = "This server does not go by that name.\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page<S: Snapshot>(
    State(dashboard): State<Arc<Dashboard<S>>>,
    Query(link): Query<Link>,
    headers: HeaderMap,
) -> Response {
    match link.token {
        // Back to the page without the token, so that it stays in no history and no bookmark.
        Some(token) if dashboard.access.is_token(&token) => Response::builder()
            .status(StatusCode::SEE_OTHER)
            .header(LOCATION, "/")
            .header(SET_COOKIE, dashboard.access.set_cookie())
            .body(Body::empty())
            .expect("the headers are legal"),
        None if dashboard.access.admits(&headers) => html(StatusCode::OK, PAGE),
        Some(_) | None => html(StatusCode::UNAUTHORIZED, NO_ACCESS),
    }
}

async fn data<S: Snapshot>(
    State(dashboard): State<Arc<Dashboard<S>>>,
    headers: HeaderMap,
) -> Response {
    if dashboard.access.admits(&headers) {
        Json(dashboard.snapshot.snapshot().await).into_response()
    } else {
        html(StatusCode::UNAUTHORIZED, NO_ACCESS)
    }
}

async fn style() -> Response {
    typed("text/css; charset=utf-8", STYLE)
}

async fn script() -> Response {
    typed("text/javascript; charset=utf-8", SCRIPT)
}

fn html(status: StatusCode, text: &'static str) -> Response {
    (status, typed("text/html; charset=utf-8", text)).into_response()
}

fn typed(media_type: &'static str, text: &'static str) -> Response {
    let content_type: [(HeaderName, &str); 1] = [(CONTENT_TYPE, media_type)];
    (content_type, text).into_response()
}

#[cfg(test)]
mod tests;
