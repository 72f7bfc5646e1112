//! A router over everything in memory, and a client that signs.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clock::{ManualClock, SharedClock, Timestamp};
use container_image::{Digest, Image, RunConfig};
use dispatcher::{Dispatcher, DispatcherParts, Invoker, InvokerParts};
use event_log::{MemoryLog, SharedLog, TopicName};
use function::Registry;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use instance::{
    Finished, Instance, Invocation, LaunchError, Launcher, Metrics, Outcome, Pool, PoolConfig, Spec,
};
use object_store::memory::InMemory;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::callers::keyring;
use crate::sigv4::{Signer, Verifier};
use crate::{
    CodeSource, CodeSourceError, Images, LambdaPayloads, ModuleError, Modules, OwnKafka, State,
    TableStream, TableStreams, router,
};

pub(super) const ROLE: &str = "arn:aws:iam::000000000000:role/r";
/// 2026-11-20T23:19:00.123Z.
pub(super) const NOW: i64 = 1_795_216_740_123;
/// The stream of the one table that there is.
pub(super) const STREAM: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop";
pub(super) const KEY: (&str, &str) = ("AKIDEXAMPLE", "secret");

/// The API and a client of it.
pub(super) struct Door {
    pub(super) state: State,
    pub(super) pool: Arc<Pool>,
    router: Router,
    _cache: TempDir,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Door {
    pub(super) async fn open() -> Self {
        let cache = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(NOW)));
        let log: SharedLog = MemoryLog::new();
        let registry = Registry::open(
            Arc::new(InMemory::new()),
            cache.path(),
            clock.clone(),
            function::Writers::Alone,
            1 << 20,
        );
        let registry = Arc::new(registry.await.unwrap());
        let pool = Arc::new(Pool::new(Arc::new(Echo), PoolConfig::default()));
        let invoker = Invoker::new(InvokerParts {
            log: log.clone(),
            functions: registry.clone(),
            pool: pool.clone(),
            clock: clock.clone(),
            settings: dispatcher::Settings::default(),
        });
        let invoker = Arc::new(invoker);
        let dispatcher = Dispatcher::new(DispatcherParts {
            invoker: invoker.clone(),
            payloads: Arc::new(LambdaPayloads),
        });
        let state = State {
            registry,
            invoker,
            triggers: dispatcher.status(),
            log,
            verifier: Verifier::new(Arc::new(keyring()), clock.clone()),
            clock,
            code_source: Arc::new(Shelf),
            images: Arc::new(Gallery),
            modules: Arc::new(Judge),
            table_streams: Arc::new(Shop),
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            own_kafka: OwnKafka::new(([127, 0, 0, 1], 9092).into(), []),
            egress: instance::Endpoints {
                permitted: vec!["*.example.com:443".parse().unwrap()],
                ..instance::Endpoints::default()
            },
            default_partitions: 2,
        };
        Self {
            router: router(state.clone()),
            state,
            pool,
            _cache: cache,
        }
    }

    /// With a function `f` in it.
    pub(super) async fn with_function() -> Self {
        let door = Self::open().await;
        let created = door
            .call("POST", "/2015-03-31/functions", &creation("f"))
            .await;
        assert_eq!(created.status, 201, "{}", created.json());
        door
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        self.send(method, path, &[], body).await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:4566{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.clone())).unwrap();
        let signer = Signer {
            access_key_id: KEY.0,
            secret_access_key: KEY.1,
            region: "us-east-1",
            service: "lambda",
        };
        signer.sign(&mut request, &body, self.state.clock.now());
        self.send_as_it_is(request).await
    }

    pub(super) async fn send_as_it_is(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// The error of a call that is refused, as `code: message`.
    pub(super) async fn refusal(&self, method: &str, path: &str, body: &Value) -> String {
        self.call(method, path, body).await.refusal()
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn refusal(&self) -> String {
        let body = self.json();
        let message = body.get("message").or_else(|| body.get("Message"));
        let message = message.and_then(Value::as_str).unwrap_or_default();
        let code = self.header("x-amzn-errortype").unwrap_or("no error");
        format!("{code}: {message}")
    }
}

pub(super) fn zip(content: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("main.py", options).unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

pub(super) fn creation(name: &str) -> Value {
    json!({
        "FunctionName": name, "Runtime": "python3.13", "Handler": "main.handler", "Role": ROLE,
        "Code": {"ZipFile": STANDARD.encode(zip("1"))},
    })
}

/// A database with one table.
#[derive(Debug)]
struct Shop;

impl TableStreams for Shop {
    fn find(&self, arn: &str) -> Option<TableStream> {
        (arn == STREAM).then(|| TableStream {
            topic: TopicName::new("table.shop.orders").unwrap(),
            partitions: 3,
        })
    }
}

/// Objects that packages may lie in.
#[derive(Debug)]
struct Shelf;

#[async_trait]
impl CodeSource for Shelf {
    async fn fetch(
        &self,
        bucket: &str,
        key: &str,
        _version: Option<&str>,
        _max_bytes: u64,
    ) -> Result<Bytes, CodeSourceError> {
        match (bucket, key) {
            ("packages", "f.zip") => Ok(zip("from a bucket").into()),
            _ => Err(CodeSourceError::Refused {
                code: "NoSuchKey".to_owned(),
                message: "The specified key does not exist.".to_owned(),
            }),
        }
    }
}

/// A registry with one repository. Of the images there, one may not be read, and one is for another
/// machine; all others are the same.
#[derive(Debug)]
struct Gallery;

#[async_trait]
impl Images for Gallery {
    async fn resolve(&self, uri: &str) -> Result<Image, container_image::Error> {
        let digest = Digest::of(uri.as_bytes());
        match uri.strip_prefix("r.example/app:") {
            Some("secret") => Err(container_image::Error::Denied {
                registry: "r.example".to_owned(),
                reason: "no".to_owned(),
            }),
            Some("other") => Err(container_image::Error::Invalid {
                what: "the configuration".to_owned(),
                reason: "it is for another machine".to_owned(),
            }),
            Some(_) => Ok(Image {
                uri: uri.to_owned(),
                resolved_uri: format!("r.example/app@{digest}"),
                digest,
                layers: Vec::new(),
                run: RunConfig::default(),
            }),
            None => Err(container_image::Error::NotFound {
                image: uri.to_owned(),
            }),
        }
    }
}

/// Finds fault with modules called `broken`.
#[derive(Debug)]
struct Judge;

#[async_trait]
impl Modules for Judge {
    async fn check(
        &self,
        _function: &str,
        handler: &str,
        _package: Bytes,
    ) -> Result<(), ModuleError> {
        match handler {
            "broken" => Err(ModuleError::Refused("it is no module".to_owned())),
            _ => Ok(()),
        }
    }
}

/// Starts instances that answer with their event, or fail when the event says `"throw"`. A
/// handler called `missing` is one.
struct Echo;

#[async_trait]
impl Launcher for Echo {
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        if spec.handler == "missing" {
            return Err(LaunchError::EntryPoint {
                function: spec.function.clone(),
                path: "/var/task/bootstrap".into(),
            });
        }
        Ok(Box::new(Echoing))
    }
}

struct Echoing;

#[async_trait]
impl Instance for Echoing {
    async fn invoke(self: Box<Self>, invocation: Invocation) -> Finished {
        let outcome = if invocation.payload == "\"throw\"" {
            Outcome::Error {
                body: Bytes::from_static(b"{\"errorMessage\":\"no\",\"errorType\":\"Oops\"}"),
                error_type: "Oops".to_owned(),
            }
        } else if invocation.payload == "\"arn\"" {
            Outcome::Success(json!(invocation.arn).to_string().into())
        } else {
            Outcome::Success(invocation.payload)
        };
        Finished {
            outcome,
            metrics: Metrics::default(),
            log_tail: Bytes::from_static(b"END\n"),
            instance: Some(self),
        }
    }

    async fn prepare(&mut self) -> bool {
        true
    }

    async fn ready(&mut self) -> bool {
        true
    }

    async fn shutdown(self: Box<Self>) {}
}

/// The members of `shown` that `expected` names.
pub(super) fn part(shown: &Value, expected: &Value) -> Value {
    let names: BTreeMap<_, _> = expected
        .as_object()
        .unwrap()
        .keys()
        .map(|name| (name.clone(), shown[name].clone()))
        .collect();
    json!(names)
}
