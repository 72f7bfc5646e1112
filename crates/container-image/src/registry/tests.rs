//! A registry that answers from a table, and what is asked of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::{Url, is_local, is_safe};
use crate::{Digest, Error, Image, Reference, Source, SourceConfig};

/// What it is asked, without headers but `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    line: String,
    authorization: String,
    body: String,
}

type Answer = Box<dyn Fn(&Asked) -> (&'static str, String, Vec<u8>) + Send + Sync>;

/// A server that answers each request by a function, until the process ends.
struct Registry {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Registry {
    fn start(answer: impl FnOnce(SocketAddr) -> Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer(address);
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &heard, &answer);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut asked = Asked {
        line: String::new(),
        authorization: String::new(),
        body: String::new(),
    };
    lines.read_line(&mut asked.line).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => asked.authorization = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    asked.body = String::from_utf8(body).unwrap();
    asked.line = asked.line.trim_end().replace(" HTTP/1.1", "");
    let (status, headers, body) = answer(&asked);
    heard.lock().push(asked);
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
}

/// Contents of an image without layers, by their paths in the registry.
fn contents(manifest_type: &str) -> (Digest, BTreeMap<String, Vec<u8>>) {
    let config = json!({
        "os": "linux", "architecture": crate::manifest::ARCHITECTURE,
        "config": {"Entrypoint": ["/main"], "Env": ["A=b=c"]}, "rootfs": {"diff_ids": []},
    });
    let config = config.to_string().into_bytes();
    let at = Digest::of(&config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": manifest_type, "layers": [],
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": at, "size": config.len(),
        },
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = Digest::of(&manifest);
    let contents = [
        (format!("GET /v2/app/blobs/{at}"), config),
        ("GET /v2/app/manifests/1".to_owned(), manifest.clone()),
        (format!("GET /v2/app/manifests/{digest}"), manifest),
    ];
    (digest, contents.into())
}

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn found(contents: &BTreeMap<String, Vec<u8>>, asked: &Asked) -> (&'static str, String, Vec<u8>) {
    match contents.get(&asked.line) {
        Some(content) => ("200 OK", String::new(), content.clone()),
        None => ("404 Not Found", String::new(), Vec::new()),
    }
}

async fn resolve(registry: &Registry, logins: Option<&str>, name: &str) -> Result<Image, Error> {
    // Another test may have been faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    if let Some(logins) = logins {
        let host = registry.address.to_string();
        std::fs::write(&file, logins.replace("HOST", &host)).unwrap();
    }
    let source = Source::new(SourceConfig {
        registries: vec![registry.address.to_string().try_into().unwrap()],
        docker_config: logins.map(|_| file.clone()),
        layouts: None,
        max_bytes: 1 << 20,
    });
    let name = format!("{}/{name}", registry.address);
    source.resolve(&name.parse::<Reference>().unwrap()).await
}

/// A registry that wants a token, and is its own token server.
fn with_tokens(answer: &'static str, realm: Option<&'static str>) -> Registry {
    Registry::start(|address| {
        let (_, contents) = contents(DOCKER);
        let own = format!("http://{address}/token");
        let realm = realm.map_or(own, str::to_owned);
        Box::new(move |asked| {
            if asked.line.contains("/token") {
                return ("200 OK", String::new(), answer.as_bytes().to_vec());
            }
            if asked.authorization == "Bearer a-token" {
                return found(&contents, asked);
            }
            let wanted = format!("www-authenticate: Bearer realm=\"{realm}\",service=\"r\"\r\n");
            ("401 Unauthorized", wanted, Vec::new())
        })
    })
}

#[tokio::test]
async fn an_image_is_resolved_by_anybody_where_the_registry_lets_anybody() {
    let (digest, contents) = contents(DOCKER);
    let registry = Registry::start(|_| Box::new(move |asked| found(&contents, asked)));
    let image = resolve(&registry, None, "app:1").await.unwrap();
    assert_eq!(image.digest, digest);
    assert_eq!(
        image.resolved_uri,
        format!("{}/app@{digest}", registry.address)
    );
    assert_eq!(image.run.entry_point, ["/main"]);
    assert_eq!(image.run.environment["A"], "b=c");
    let again = resolve(&registry, None, &format!("app@{digest}"))
        .await
        .unwrap();
    assert_eq!(again.digest, digest);
    let missing = resolve(&registry, None, "app:2").await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    assert!(
        registry
            .asked()
            .iter()
            .all(|asked| asked.authorization.is_empty())
    );
}

#[tokio::test]
async fn a_token_is_asked_for_with_what_the_operator_has_given() {
    let password = r#"{"auths":{"HOST":{"username":"ada","password":"secret"}}}"#;
    let identity = r#"{"auths":{"HOST":{"identitytoken":"refresh&"}}}"#;
    for (logins, answer, expected) in [
        (
            None,
            r#"{"token":"a-token"}"#,
            ("GET /token?service=r&scope=", "", ""),
        ),
        (
            Some(password),
            r#"{"access_token":"a-token"}"#,
            ("GET /token?service=r&scope=", "Basic YWRhOnNlY3JldA==", ""),
        ),
        (
            Some(identity),
            r#"{"access_token":"a-token"}"#,
            (
                "POST /token",
                "",
                "grant_type=refresh_token&client_id=tidemill&scope=repository%3Aapp%3Apull&refresh_token=refresh%26&service=r",
            ),
        ),
    ] {
        let registry = with_tokens(answer, None);
        resolve(&registry, logins, "app:1").await.unwrap();
        let asked = registry.asked();
        let token = asked
            .iter()
            .find(|asked| asked.line.contains("/token"))
            .unwrap();
        assert!(token.line.starts_with(expected.0), "{token:?}");
        assert_eq!(
            (token.authorization.as_str(), token.body.as_str()),
            (expected.1, expected.2)
        );
    }
    let registry = with_tokens("", None);
    let direct = r#"{"auths":{"HOST":{"registrytoken":"a-token"}}}"#;
    resolve(&registry, Some(direct), "app:1").await.unwrap();
    assert!(
        !registry
            .asked()
            .iter()
            .any(|asked| asked.line.contains("/token"))
    );
}

#[tokio::test]
async fn a_refusal_says_whose_it_is_and_no_secret() {
    let password = r#"{"auths":{"HOST":{"username":"ada","password":"secret"}}}"#;
    let wrong = with_tokens(r#"{"token":"another"}"#, None);
    let open = with_tokens(r#"{"token":"a-token"}"#, Some("http://token.example/token"));
    let none = with_tokens("{}", None);
    for registry in [wrong, open, none] {
        let refused = resolve(&registry, Some(password), "app:1")
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Denied { .. }), "{refused:?}");
        let told = format!("{refused:?} {refused}");
        assert!(
            !told.contains("secret") && !told.contains("another"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn credentials_stay_with_the_host_they_are_for_and_content_is_never_asked_for_in_the_open() {
    let (digest, contents) = contents(DOCKER);
    let elsewhere = {
        let contents = contents.clone();
        Registry::start(|_| Box::new(move |asked| found(&contents, asked)))
    };
    let other = elsewhere.address;
    let leads = |to: String| {
        let contents = contents.clone();
        move |_| -> Answer {
            Box::new(
                move |asked: &Asked| match asked.line.strip_prefix("GET /v2/app/blobs/") {
                    _ if asked.authorization.is_empty() => {
                        let wanted = "www-authenticate: Basic realm=\"r\"\r\n".to_owned();
                        ("401 Unauthorized", wanted, Vec::new())
                    }
                    Some(digest) => {
                        let location = format!("location: {to}/v2/app/blobs/{digest}\r\n");
                        ("307 Temporary Redirect", location, Vec::new())
                    }
                    None => found(&contents, asked),
                },
            )
        }
    };
    let password = r#"{"auths":{"HOST":{"username":"ada","password":"secret"}}}"#;
    let registry = Registry::start(leads(format!("http://{other}")));
    let image = resolve(&registry, Some(password), "app:1").await.unwrap();
    assert_eq!(image.digest, digest);
    let asked = elsewhere.asked();
    assert_eq!((asked.len(), asked[0].authorization.as_str()), (1, ""));
    let registry = Registry::start(leads("http://content.example".to_owned()));
    let refused = resolve(&registry, Some(password), "app:1")
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
}

#[tokio::test]
async fn what_comes_is_held_against_its_digest() {
    let (digest, contents) = contents(DOCKER);
    let lies = contents.into_iter().map(|(path, mut content)| {
        content.push(b' ');
        (path, content)
    });
    let lies: BTreeMap<_, _> = lies.collect();
    let registry = Registry::start(|_| Box::new(move |asked| found(&lies, asked)));
    for name in ["app:1".to_owned(), format!("app@{digest}")] {
        let refused = resolve(&registry, None, &name).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
}

#[test]
fn plain_text_is_for_this_machine_alone() {
    for host in [
        "localhost",
        "localhost:5000",
        "127.0.0.1:5000",
        "127.9.9.9",
        "[::1]:5000",
    ] {
        assert!(is_local(host), "{host}");
    }
    for host in [
        "r.example",
        "10.0.0.1:5000",
        "localhost.example:80",
        "[::2]:5000",
        "",
    ] {
        assert!(!is_local(host), "{host}");
    }
    let url = |text: &str| Url::parse(text).unwrap();
    assert!(is_safe(&url("https://r.example/"), false));
    assert!(is_safe(&url("http://127.0.0.1:1/"), true));
    assert!(!is_safe(&url("http://127.0.0.1:1/"), false));
    assert!(!is_safe(&url("http://r.example/"), true));
}
