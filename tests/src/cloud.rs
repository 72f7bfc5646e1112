//! Stores that are not S3: emulators of Azure Blob Storage and of Google Cloud Storage.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A container or bucket of its own.
#[derive(Debug)]
pub struct Cloud {
    endpoint: String,
    bucket: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Azure { account: String, key: String },
    Gcs,
}

impl Cloud {
    /// At Azurite, if it is there. The container is not made yet.
    #[must_use]
    pub fn azure() -> Option<Self> {
        let endpoint = std::env::var("TIDEMILL_TEST_AZURE").ok()?;
        let key = std::env::var("TIDEMILL_TEST_AZURE_KEY").ok()?;
        let account = endpoint.rsplit('/').next()?.to_owned();
        Some(Self::of(endpoint, Kind::Azure { account, key }))
    }

    /// At the emulator of Google's, if it is there. The bucket is not made yet.
    #[must_use]
    pub fn gcs() -> Option<Self> {
        let endpoint = std::env::var("TIDEMILL_TEST_GCS").ok()?;
        Some(Self::of(endpoint, Kind::Gcs))
    }

    fn of(endpoint: String, kind: Kind) -> Self {
        let bucket = format!("cloud-{}", uuid::Uuid::new_v4());
        Self {
            endpoint,
            bucket,
            kind,
        }
    }

    /// Its name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What opens it, as a connector's file has it, and the part of that which nobody may see.
    #[must_use]
    pub fn secret(&self) -> (String, &str) {
        match &self.kind {
            Kind::Azure { key, .. } => (format!("{key}\n"), key),
            Kind::Gcs => {
                let secret = "hush-5c1d";
                let account = serde_json::json!({
                    "type": "service_account", "private_key": secret, "private_key_id": "1",
                    "client_email": "tests@example.org", "disable_oauth": true,
                });
                (account.to_string(), secret)
            }
        }
    }

    /// The arguments that add it as a connector, what opens it being in `file`.
    #[must_use]
    pub fn connector(&self, file: &Path) -> Vec<String> {
        let file = file.display();
        let (kind, own) = match &self.kind {
            Kind::Azure { account, .. } => {
                let key = format!("file:{file}");
                let container = ["--container".to_owned(), self.bucket.clone()];
                let account = ["--account".to_owned(), account.clone()];
                let key = ["--account-key".to_owned(), key];
                ("azure", [container, account, key].concat())
            }
            Kind::Gcs => {
                let bucket = ["--bucket".to_owned(), self.bucket.clone()];
                let key = ["--credentials".to_owned(), file.to_string()];
                ("gcs", [bucket, key].concat())
            }
        };
        let endpoint = ["--endpoint".to_owned(), self.endpoint.clone()];
        [&[kind.to_owned()][..], &own, &endpoint].concat()
    }

    /// Makes it.
    ///
    /// # Errors
    /// The emulator refuses.
    pub async fn make(&self) -> Result<()> {
        let Self {
            endpoint, bucket, ..
        } = self;
        match &self.kind {
            Kind::Azure { .. } => {
                let url = format!("{endpoint}/{bucket}?restype=container");
                self.send("PUT", &url, &[], "").await
            }
            Kind::Gcs => {
                let url = format!("{endpoint}/storage/v1/b?project=tests");
                let body = format!("{{\"name\": {bucket:?}}}");
                let json = [("content-type", "application/json")];
                self.send("POST", &url, &json, &body).await
            }
        }
    }

    /// Puts an object.
    ///
    /// # Errors
    /// The emulator refuses.
    pub async fn put(&self, key: &str, content: &str) -> Result<()> {
        let (endpoint, bucket, key) = (&self.endpoint, &self.bucket, encoded(key));
        match &self.kind {
            Kind::Azure { .. } => {
                let url = format!("{endpoint}/{bucket}/{key}");
                let blob = [("x-ms-blob-type", "BlockBlob")];
                self.send("PUT", &url, &blob, content).await
            }
            Kind::Gcs => {
                let url = format!(
                    "{endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={key}"
                );
                let text = [("content-type", "text/plain")];
                self.send("POST", &url, &text, content).await
            }
        }
    }

    /// Removes an object.
    ///
    /// # Errors
    /// The emulator refuses.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let (endpoint, bucket, key) = (&self.endpoint, &self.bucket, encoded(key));
        let url = match &self.kind {
            Kind::Azure { .. } => format!("{endpoint}/{bucket}/{key}"),
            Kind::Gcs => format!("{endpoint}/storage/v1/b/{bucket}/o/{key}"),
        };
        self.send("DELETE", &url, &[], "").await
    }

    async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Result<()> {
        let mut request = HttpRequest::new(Bytes::new().into());
        *request.method_mut() = method.parse()?;
        *request.uri_mut() = url.parse()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        // A signature knows no length of nothing.
        if !body.is_empty() {
            let length = body.len().to_string().parse()?;
            request.headers_mut().insert("content-length", length);
        }
        if let Kind::Azure { account, key } = &self.kind {
            let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(key)?);
            AzureAuthorizer::new(&credential, account).try_authorize(&mut request)?;
        }
        let (status, said) = exchange(&request, body).await?;
        ensure!(
            (200..300).contains(&status),
            "{method} {url}: {status} {said}"
        );
        Ok(())
    }
}

/// Sends a request on a connection of its own, and returns the answer's status and all of it.
async fn exchange(request: &HttpRequest, body: &str) -> Result<(u16, String)> {
    let authority = request.uri().authority().context("an authority")?;
    let path = request.uri().path_and_query().context("a path")?;
    let mut head = format!(
        "{} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n",
        request.method()
    );
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
    }
    if body.is_empty() {
        head.push_str("content-length: 0\r\n");
    }
    let mut stream = TcpStream::connect(authority.as_str()).await?;
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).context("a status")?.parse()?;
    Ok((status, answer))
}

fn encoded(key: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    key.bytes().map(one).collect()
}
