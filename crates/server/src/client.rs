//! A signing HTTP client for our own command line and the demo.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clock::{Clock, SystemClock};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::cli;
use crate::credentials::{self, Credentials, environment};
use crate::operator::{self, OperatorKey};

/// A server as one of its account's users.
#[derive(Clone)]
pub(crate) struct Client {
    endpoint: String,
    region: String,
    credentials: Credentials,
    /// Of who runs the server, for what the account's credentials do not suffice for.
    operator: Option<OperatorKey>,
    clock: Arc<SystemClock>,
    http: Http<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// A client of the server at `endpoint`, for example `http://127.0.0.1:4566`.
    pub(crate) fn new(endpoint: &str, region: &str, credentials: Credentials) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
            credentials,
            operator: None,
            clock: Arc::new(SystemClock::new()),
            http: Http::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Finds the server: its address from `--endpoint-url`, `AWS_ENDPOINT_URL` or the data folder;
    /// credentials from the AWS environment variables, the file they name, or the data folder.
    ///
    /// # Errors
    /// No address or no credentials are to be had; the message says where they were looked for.
    pub(crate) fn find(server: &cli::Server) -> anyhow::Result<Self> {
        let recorded = credentials::read_endpoint(&server.data_dir);
        let endpoint = server.endpoint_url.clone().or(recorded).ok_or_else(|| {
            anyhow!(
                "no server found: set AWS_ENDPOINT_URL, or name the data folder of a running server with --data-dir (looked in {})",
                server.data_dir.display()
            )
        })?;
        if endpoint.starts_with("https://") {
            bail!("the endpoint {endpoint} is not plain HTTP: the server does not speak TLS yet");
        }
        let region = environment("AWS_REGION")
            .or_else(|| environment("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Self {
            operator: OperatorKey::read(&server.data_dir),
            ..Self::new(&endpoint, &region, find_credentials(server)?)
        })
    }

    /// Sends a signed request and returns the answer's status and body.
    ///
    /// # Errors
    /// The server cannot be reached or the connection breaks.
    pub(crate) async fn send(
        &self,
        service: &str,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let response = self.open(service, method, path_and_query, body).await?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .with_context(|| format!("read the answer of {path_and_query}"))?
            .to_bytes();
        Ok((status, body))
    }

    /// Like [`send`](Self::send), and refuses every answer that is no success.
    ///
    /// # Errors
    /// As `send`, and the server's own message when it refuses.
    pub(crate) async fn demand(
        &self,
        service: &str,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let act = format!("{method} {path_and_query}");
        let (status, body) = self.send(service, method, path_and_query, body).await?;
        if status.is_success() {
            return Ok(body);
        }
        bail!("{act}: {status}: {}", String::from_utf8_lossy(&body).trim())
    }

    /// Sends a signed request and returns the answer while its body still streams.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn open(
        &self,
        service: &str,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let uri: Uri = format!("{}{path_and_query}", self.endpoint)
            .parse()
            .with_context(|| format!("the address {}{path_and_query}", self.endpoint))?;
        let host = uri
            .authority()
            .map(ToString::to_string)
            .ok_or_else(|| anyhow!("the endpoint {} has no host", self.endpoint))?;
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(http::header::HOST, host);
        if let Some(key) = &self.operator {
            request = request.header(operator::HEADER, key.as_str());
        }
        let mut request = request
            .body(Full::new(body.clone()))
            .context("build the request")?;
        let signer = api::sigv4::Signer {
            access_key_id: &self.credentials.access_key_id,
            secret_access_key: &self.credentials.secret_access_key,
            region: &self.region,
            service,
        };
        signer.sign(&mut request, &body, self.clock.now());
        self.http
            .request(request)
            .await
            .with_context(|| format!("reach the server at {}", self.endpoint))
    }
}

fn find_credentials(server: &cli::Server) -> anyhow::Result<Credentials> {
    let found = credentials::from_environment()
        .unwrap_or_else(|| credentials::load(&credentials::file_in(&server.data_dir)));
    found.context(
        "find credentials: set AWS_SHARED_CREDENTIALS_FILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name the data folder with --data-dir",
    )
}
