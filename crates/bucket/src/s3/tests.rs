//! The door as the AWS SDK sees it, over a loopback socket.

mod buckets;
mod connected;
mod notifications;
mod objects;
mod roles;
mod tagging;
mod uploads;
mod versions;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use clock::SystemClock;
use event_log::MemoryLog;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::{BucketName, Config, FunctionNotification, NotificationError};

const BUCKET: &str = "data";

/// A door with one bucket behind it, and the SDK's client in front.
struct Fixture {
    client: Client,
    address: SocketAddr,
    store: BucketStore,
    files: connected::Files,
    folder: TempDir,
    _server: JoinSet<()>,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            folder: folder.path().to_owned(),
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            partitions: NonZeroU32::new(2).unwrap(),
        };
        let clock = Arc::new(SystemClock::new());
        let store = BucketStore::open(config, MemoryLog::new(), clock)
            .await
            .unwrap();
        let (registry, files) = (Arc::<Registry>::default(), connected::Files::default());
        let connected = Arc::new(files.clone());
        let service = service(
            store.clone(),
            Arc::new(roles::keyring()),
            registry,
            connected,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = service.clone();
                connections.spawn(async move {
                    let http = auto::Builder::new(TokioExecutor::new());
                    // A client that hangs up ends its connection with an error.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        let client = client(address, "key", "secret");
        client.create_bucket().bucket(BUCKET).send().await.unwrap();
        Self {
            client,
            address,
            store,
            files,
            folder,
            _server: server,
        }
    }

    async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> String {
        let put = self.client.put_object().bucket(BUCKET).key(key);
        let put = put.body(ByteStream::from(bytes.into())).send().await;
        put.unwrap().e_tag.unwrap()
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let get = self.client.get_object().bucket(BUCKET).key(key).send();
        let body = get.await.unwrap().body.collect().await.unwrap();
        body.to_vec()
    }

    /// The status and body of a request that no SDK would make.
    async fn raw(&self, method: &str, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            self.address
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn client(address: SocketAddr, key: &str, secret: &str) -> Client {
    let credentials = Credentials::new(key, secret, None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(format!("http://{address}"))
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

/// The error code of an answer that must be one.
fn code<O: std::fmt::Debug, E: ProvideErrorMetadata, R>(answer: Result<O, SdkError<E, R>>) -> String
where
    SdkError<E, R>: ProvideErrorMetadata,
{
    let error = answer.expect_err("the door refuses");
    error.code().unwrap_or("none").to_owned()
}

/// A registry that knows one function.
#[derive(Default)]
struct Registry(Mutex<HashMap<BucketName, Vec<FunctionNotification>>>);

const KNOWN: &str = "arn:aws:lambda:us-east-1:000000000000:function:known";

#[async_trait]
impl Notifications for Registry {
    async fn replace(
        &self,
        bucket: &BucketName,
        functions: Vec<FunctionNotification>,
    ) -> Result<(), NotificationError> {
        if let Some(unknown) = functions.iter().find(|one| one.function_arn != KNOWN) {
            return Err(NotificationError::UnknownFunction {
                arn: unknown.function_arn.clone(),
            });
        }
        self.0.lock().insert(bucket.clone(), functions);
        Ok(())
    }

    async fn get(
        &self,
        bucket: &BucketName,
    ) -> Result<Vec<FunctionNotification>, NotificationError> {
        Ok(self.0.lock().get(bucket).cloned().unwrap_or_default())
    }

    async fn bucket_deleted(&self, bucket: &BucketName) -> Result<(), NotificationError> {
        self.0.lock().remove(bucket);
        Ok(())
    }
}

#[tokio::test]
async fn requests_that_are_not_signed_by_a_known_key_are_refused() {
    let fixture = Fixture::new().await;
    fixture.put("a", "secret").await;
    for path in ["/", "/data", "/data/a"] {
        let answer = fixture.raw("GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.contains("AccessDenied"), "{answer}");
    }
    let stranger = client(fixture.address, "stranger", "secret");
    assert_eq!(
        code(stranger.list_buckets().send().await),
        "InvalidAccessKeyId"
    );
    let forger = client(fixture.address, "key", "wrong");
    assert_eq!(
        code(forger.list_buckets().send().await),
        "SignatureDoesNotMatch"
    );
}

#[tokio::test]
async fn operations_that_are_not_implemented_are_refused_by_name() {
    let fixture = Fixture::new().await;
    let website = fixture.client.get_bucket_website().bucket(BUCKET);
    let error = website.send().await.unwrap_err();
    assert_eq!(error.code(), Some("NotImplemented"));
    assert!(error.message().unwrap().contains("GetBucketWebsite"));
}

#[test]
fn a_full_disk_asks_the_client_to_come_back_later() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    for error in [
        crate::Error::from(event_log::Error::Full { source: full }),
        crate::Error::io("write a blob", std::io::ErrorKind::StorageFull.into()),
    ] {
        let answer = s3s::S3Error::from(error);
        assert_eq!(answer.status_code().unwrap().as_u16(), 503);
        assert_eq!(answer.code().as_str(), "ServiceUnavailable");
    }
}
