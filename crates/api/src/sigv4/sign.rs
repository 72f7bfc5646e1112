//! Signing a request of our own.

use std::time::Duration;

use clock::Timestamp;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use time::macros::format_description;

use super::canonical::{Scope, Signed};
use super::verify::hash;
use super::{ALGORITHM, LONGEST_LIFE};

/// Signs requests with one key for one service.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The key's id.
    pub access_key_id: &'a str,
    /// The key.
    pub secret_access_key: &'a str,
    /// The region to sign for.
    pub region: &'a str,
    /// The service to sign for, for example `lambda`.
    pub service: &'a str,
}

impl Signer<'_> {
    /// Adds the headers that sign `request` with `body` at this moment: `host` when absent,
    /// `x-amz-date`, `x-amz-content-sha256` and `authorization`. Host, content type and every
    /// `x-amz-` header are signed.
    ///
    /// # Panics
    /// When the key's id, the region or the service hold characters that no header may.
    pub fn sign<B>(&self, request: &mut Request<B>, body: &[u8], now: Timestamp) {
        let amz_date = amz_date(now);
        let payload_hash = hash(body);
        if !request.headers().contains_key(HOST)
            && let Some(authority) = request.uri().authority()
        {
            let host = HeaderValue::from_str(authority.as_str());
            let host = host.expect("an authority is legal in a header");
            request.headers_mut().insert(HOST, host);
        }
        for (name, text) in [
            ("x-amz-date", &amz_date),
            ("x-amz-content-sha256", &payload_hash),
        ] {
            let value = HeaderValue::from_str(text).expect("digits and letters are legal");
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        let mut signed_headers: Vec<String> = request
            .headers()
            .keys()
            .filter(|name| {
                *name == HOST || *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-")
            })
            .map(|name| name.as_str().to_owned())
            .collect();
        signed_headers.sort();
        let scope = self.scope(&amz_date);
        let signature = Signed {
            method: request.method().as_str(),
            uri: request.uri(),
            headers: request.headers(),
            signed_headers: &signed_headers,
            payload_hash: &payload_hash,
            scope: &scope,
            amz_date: &amz_date,
        }
        .signature(self.secret_access_key);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
            self.access_key_id,
            signed_headers.join(";"),
            hex::encode(signature)
        );
        let authorization = HeaderValue::from_str(&authorization);
        let authorization = authorization.expect("keys, regions and services are plain text");
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }

    /// The URL of `path` (with or without a query) on `host` that whoever has it may GET until
    /// `life` has passed, at most seven days. `None` when host and path make no URL.
    #[must_use]
    pub fn presign(
        &self,
        host: &str,
        path: &str,
        now: Timestamp,
        life: Duration,
    ) -> Option<String> {
        let amz_date = amz_date(now);
        let scope = self.scope(&amz_date);
        let life = life.as_secs().min(LONGEST_LIFE);
        let joint = if path.contains('?') { '&' } else { '?' };
        let credential = format!("{}/{scope}", self.access_key_id).replace('/', "%2F");
        let url = format!(
            "http://{host}{path}{joint}X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}\
             &X-Amz-Date={amz_date}&X-Amz-Expires={life}&X-Amz-SignedHeaders=host"
        );
        let uri: Uri = url.parse().ok()?;
        let signature = Signed {
            method: "GET",
            uri: &uri,
            headers: &HeaderMap::new(),
            signed_headers: &["host".to_owned()],
            payload_hash: &hash(b""),
            scope: &scope,
            amz_date: &amz_date,
        }
        .signature(self.secret_access_key);
        let signature = hex::encode(signature);
        Some(format!("{url}&X-Amz-Signature={signature}"))
    }

    fn scope(&self, amz_date: &str) -> Scope {
        Scope {
            day: amz_date[..8].to_owned(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
        }
    }
}

fn amz_date(now: Timestamp) -> String {
    now.to_utc()
        .format(format_description!(
            "[year][month][day]T[hour][minute][second]Z"
        ))
        .expect("every component of the format is in the date")
}

impl std::fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
