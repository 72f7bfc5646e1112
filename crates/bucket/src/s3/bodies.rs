//! Bodies on their way in.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{StreamExt, stream};
use s3s::dto::StreamingBlob;
use s3s::{S3Result, TrailingHeaders, s3_error};

use super::call::Headers;
use crate::{ChecksumAlgorithm, Error, PutBody};

/// What a request says about its body.
pub(super) struct Announced {
    pub(super) body: Option<StreamingBlob>,
    pub(super) length: Option<i64>,
    pub(super) md5: Option<String>,
    pub(super) checksums: BTreeMap<ChecksumAlgorithm, String>,
    pub(super) algorithm: Option<ChecksumAlgorithm>,
}

impl Announced {
    /// The body for the store, which verifies what was announced, trailer included.
    pub(super) fn into_body(
        self,
        headers: &Headers,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<PutBody> {
        let mut body = match self.body {
            Some(body) => PutBody::stream(body.inspect(|chunk| {
                if let Ok(chunk) = chunk {
                    metrics::counter!("tidemill_s3_received_bytes_total")
                        .increment(chunk.len() as u64);
                }
            })),
            None => PutBody::stream(stream::empty()),
        };
        if let Some(length) = self.length {
            let length = u64::try_from(length)
                .map_err(|_| s3_error!(InvalidRequest, "Content-Length is negative"))?;
            body = body.with_length(length);
        }
        if let Some(md5) = self.md5 {
            let md5 = BASE64.decode(md5).ok();
            let md5 = md5.and_then(|md5| <[u8; 16]>::try_from(md5).ok());
            body = body.with_md5(md5.ok_or_else(|| s3_error!(InvalidDigest))?);
        }
        for (algorithm, value) in self.checksums {
            body = body.with_checksum(algorithm, value);
        }
        if let Some(algorithm) = self.algorithm {
            body = body.computing(algorithm);
        }
        let announced = announced_trailers(headers);
        if announced.is_empty() {
            return Ok(body);
        }
        for algorithm in &announced {
            body = body.computing(*algorithm);
        }
        Ok(body.with_trailer(move || from_trailers(&announced, trailers)))
    }
}

fn header_of(algorithm: ChecksumAlgorithm) -> String {
    format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase())
}

/// The checksums that `x-amz-trailer` promises.
fn announced_trailers(headers: &Headers) -> Vec<ChecksumAlgorithm> {
    let names = headers.get_all("x-amz-trailer");
    let names = names.iter().filter_map(|names| names.to_str().ok());
    names
        .flat_map(|names| names.split(','))
        .filter_map(|name| {
            let name = name.trim().to_ascii_lowercase();
            ChecksumAlgorithm::from_name(name.strip_prefix("x-amz-checksum-")?)
        })
        .collect()
}

fn from_trailers(
    announced: &[ChecksumAlgorithm],
    trailers: Option<TrailingHeaders>,
) -> Result<BTreeMap<ChecksumAlgorithm, String>, Error> {
    let trailers = trailers
        .and_then(|trailers| trailers.take())
        .unwrap_or_default();
    announced
        .iter()
        .map(|algorithm| {
            let value = trailers.get(header_of(*algorithm));
            let value = value.and_then(|value| value.to_str().ok());
            let value = value.ok_or_else(|| {
                Error::invalid(format!(
                    "the announced trailer {} is missing",
                    header_of(*algorithm)
                ))
            })?;
            Ok((*algorithm, value.to_owned()))
        })
        .collect()
}
