use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::{DashboardData, FunctionRow};

struct Fixed;

impl Snapshot for Fixed {
    async fn snapshot(&self) -> DashboardData {
        DashboardData {
            version: "0.1.0".to_owned(),
            functions: vec![FunctionRow {
                name: "</script><b>resize".to_owned(),
                ..FunctionRow::default()
            }],
            ..DashboardData::default()
        }
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// The router of a server, the path of its link, and a browser's cookie once it has one.
struct Browser {
    router: Router,
    link: String,
    cookie: Option<String>,
    host: &'static str,
}

impl Browser {
    fn new() -> Self {
        let access = Access::random();
        let link = access.link("");
        let hosts = Hosts::loopback_and(["mill.example".to_owned()]);
        Self {
            router: router(Arc::new(Fixed), access, hosts),
            link,
            cookie: None,
            host: "127.0.0.1:4566",
        }
    }

    async fn get(&self, path: &str) -> Answer {
        let mut request = Request::builder().uri(path).header(HOST, self.host);
        if let Some(cookie) = &self.cookie {
            request = request.header(http::header::COOKIE, cookie);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn open_link(&mut self) -> Answer {
        let answer = self.get(&self.link.clone()).await;
        if let Some(cookie) = answer.headers.get(SET_COOKIE) {
            let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            self.cookie = Some(format!("other=1; {pair}"));
        }
        answer
    }
}

#[tokio::test]
async fn the_link_sets_a_strict_cookie_and_leaves_no_token_behind() {
    let mut browser = Browser::new();
    let answer = browser.open_link().await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.headers[LOCATION], "/");
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.contains("; HttpOnly; SameSite=Strict; Path=/"),
        "{cookie}"
    );
    let token = browser.link.rsplit_once('=').unwrap().1;
    assert!(!cookie.contains(token), "the cookie is another secret");

    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.body, PAGE);
}

#[tokio::test]
async fn without_the_cookie_nothing_is_shown_but_where_the_link_is() {
    let browser = Browser::new();
    for path in ["/", "/?token=wrong", "/?token=", "/dashboard/data.json"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.body, NO_ACCESS, "{path}");
        assert!(!answer.headers.contains_key(SET_COOKIE), "{path}");
    }
}

#[tokio::test]
async fn a_cookie_of_another_start_admits_nobody() {
    let mut before = Browser::new();
    before.open_link().await;
    let mut after = Browser::new();
    after.cookie = before.cookie;
    assert_eq!(after.get("/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_data_is_the_snapshot_as_json() {
    let mut browser = Browser::new();
    browser.open_link().await;
    let answer = browser.get("/dashboard/data.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
    let data: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(data["functions"][0]["name"], "</script><b>resize");
    assert_eq!(data["billing"]["unbilled"], 0);
}

#[tokio::test]
async fn a_foreign_name_for_this_machine_gets_nothing_even_with_the_cookie() {
    let mut browser = Browser::new();
    browser.open_link().await;
    for (host, status) in [
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("mill.example:4566", StatusCode::OK),
        ("localhost:4566", StatusCode::OK),
    ] {
        browser.host = host;
        for path in ["/", "/dashboard/data.json", "/dashboard/page.js"] {
            assert_eq!(browser.get(path).await.status, status, "{host}{path}");
        }
    }
}

#[tokio::test]
async fn every_answer_forbids_framing_sniffing_and_foreign_code() {
    let browser = Browser::new();
    for path in [
        "/",
        "/dashboard/page.css",
        "/dashboard/page.js",
        "/dashboard/nothing",
    ] {
        let headers = browser.get(path).await.headers;
        assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY, "{path}");
        assert_eq!(headers[X_FRAME_OPTIONS], "DENY", "{path}");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_writes_no_markup() {
    for file in [PAGE, STYLE, SCRIPT, NO_ACCESS] {
        for foreign in ["http:", "https:", "src=\"//", "@import", "url("] {
            assert!(!file.contains(foreign), "{foreign}");
        }
    }
    for sink in [
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
    ] {
        assert!(!SCRIPT.contains(sink), "{sink}");
    }
}
