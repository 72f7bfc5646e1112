//! The canonical request, the string to sign and the signature: pure functions.

use hmac::{Hmac, Mac as _};
use http::{HeaderMap, Uri};
use sha2::{Digest as _, Sha256};

use super::ALGORITHM;

/// What a key signs for: `20150830/us-east-1/iam/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The day, `YYYYMMDD`.
    pub(super) day: String,
    pub(super) region: String,
    pub(super) service: String,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}/{}/aws4_request",
            self.day, self.region, self.service
        )
    }
}

/// Everything of a request that is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// Names of the signed headers, lower case, sorted.
    pub(super) signed_headers: &'a [String],
    /// SHA-256 of the body in hexadecimal, or the word that replaces it.
    pub(super) payload_hash: &'a str,
    pub(super) scope: &'a Scope,
    /// `YYYYMMDD'T'HHMMSS'Z'`.
    pub(super) amz_date: &'a str,
}

impl Signed<'_> {
    /// The signature under `secret`, in bytes.
    pub(super) fn signature(&self, secret: &str) -> [u8; 32] {
        let request = hex::encode(Sha256::digest(self.canonical_request()));
        let text = format!("{ALGORITHM}\n{}\n{}\n{request}", self.amz_date, self.scope);
        mac(&signing_key(secret, self.scope), text.as_bytes())
    }

    fn canonical_request(&self) -> String {
        let mut text = String::with_capacity(512);
        let query = canonical_query(self.uri.query().unwrap_or_default());
        for line in [self.method, &self.canonical_path(), &query] {
            text.push_str(line);
            text.push('\n');
        }
        for name in self.signed_headers {
            text.push_str(name);
            text.push(':');
            text.push_str(&self.header(name));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed_headers.join(";"));
        text.push('\n');
        text.push_str(self.payload_hash);
        text
    }

    /// Every service but S3 encodes the path a second time and resolves its dots.
    fn canonical_path(&self) -> String {
        let path = self.uri.path();
        if self.scope.service == "s3" {
            return encode(&decode(path), Slash::Keep);
        }
        let mut segments: Vec<&str> = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        let mut resolved = format!("/{}", segments.join("/"));
        if path.ends_with('/') && !segments.is_empty() {
            resolved.push('/');
        }
        encode(resolved.as_bytes(), Slash::Keep)
    }

    fn header(&self, name: &str) -> String {
        let values: Vec<String> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        // HTTP/2 carries the host in the request line.
        match self.uri.authority() {
            Some(authority) if values.is_empty() && name == "host" => authority.to_string(),
            _ => values.join(","),
        }
    }
}

/// Sorted pairs, encoded the one way that counts. The signature of a presigned request is not part
/// of what it signs.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| {
            let again = |text| encode(&decode(text), Slash::Encode);
            (again(name), again(value))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Keep,
    Encode,
}

/// Percent-encoding as AWS wants it: everything but `A-Z a-z 0-9 - . _ ~`, upper-case digits.
fn encode(bytes: &[u8], slash: Slash) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            b'/' if slash == Slash::Keep => text.push('/'),
            other => {
                text.push('%');
                text.push_str(&hex::encode_upper([other]));
            }
        }
    }
    text
}

/// Percent-decoding; what is no escape stays as it is.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| hex::decode(digits).ok());
        match escaped {
            Some(byte) => {
                decoded.extend(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn signing_key(secret: &str, scope: &Scope) -> [u8; 32] {
    let day = mac(format!("AWS4{secret}").as_bytes(), scope.day.as_bytes());
    let region = mac(&day, scope.region.as_bytes());
    let service = mac(&region, scope.service.as_bytes());
    mac(&service, b"aws4_request")
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a MAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}
