//! Where a request says the code is, and where we say it is.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use function::limits::{UNZIPPED_BYTES, ZIP_BYTES};
use function::{Function, Version};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, HOST};
use serde_json::json;

use crate::members::Members;
use crate::router::{Request, SERVICE};
use crate::{ApiError, CodeSourceError, State};

/// How long a link to a function's code is good for (AWS developer guide, `GetFunction`, 2026).
const LOCATION_LIFE: Duration = Duration::from_secs(10 * 60);

/// A presigned link to a function's archive, on the host that the client used.
pub(super) fn code_location(
    state: &State,
    request: &Request,
    function: &Function,
) -> Option<String> {
    let host = request.headers.get(HOST)?.to_str().ok()?;
    let signer = state.verifier.signer(&state.region, SERVICE);
    let mut path = format!("/2015-03-31/functions/{}/code", function.name);
    if let Version::Published(number) = function.version {
        path.push_str(&format!("?Qualifier={number}"));
    }
    signer.presign(host, &path, state.clock.now(), LOCATION_LIFE)
}

pub(crate) async fn download_code(state: &State, request: &Request) -> Result<Response, ApiError> {
    let version = state.expect_version(&request.target(state)?)?;
    if version.image.is_some() {
        let name = &version.name;
        return Err(ApiError::NotFound(format!(
            "{name} is an image and has no archive"
        )));
    }
    let archive = state.registry.archive(&version).await?;
    let mut response = archive.into_response();
    let zip = HeaderValue::from_static("application/zip");
    response.headers_mut().insert(CONTENT_TYPE, zip);
    Ok(response)
}

/// The package that these members give or name. Takes them.
pub(crate) async fn package(state: &State, members: &mut Members) -> Result<Bytes, ApiError> {
    let zip_file = members.text("ZipFile")?;
    let bucket = members.text("S3Bucket")?;
    let key = members.text("S3Key")?;
    let version = members.text("S3ObjectVersion")?;
    members.only("S3ObjectStorageMode", &json!("COPY"))?;
    match (zip_file, bucket, key) {
        (Some(zip_file), None, None) if version.is_none() => uploaded(&zip_file),
        (None, Some(bucket), Some(key)) => {
            let fetched = state
                .code_source
                .fetch(&bucket, &key, version.as_deref(), UNZIPPED_BYTES)
                .await;
            fetched.map_err(|error| match error {
                CodeSourceError::Refused { code, message } => ApiError::InvalidParameter(format!(
                    "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: \
                     {message}"
                )),
                CodeSourceError::Unavailable { .. } => ApiError::service(&error),
            })
        }
        (None, None, None) => Err(ApiError::InvalidParameter(
            "Please provide a source for function code: ZipFile, or S3Bucket and S3Key.".to_owned(),
        )),
        _ => Err(ApiError::InvalidParameter(
            "Please provide either ZipFile, or S3Bucket and S3Key.".to_owned(),
        )),
    }
}

fn uploaded(zip_file: &str) -> Result<Bytes, ApiError> {
    let archive = STANDARD.decode(zip_file).map_err(|error| {
        ApiError::InvalidRequestContent(format!(
            "Could not parse request body into json: zipFile is not base64: {error}"
        ))
    })?;
    if archive.len() > ZIP_BYTES {
        return Err(ApiError::request_entity_too_large(ZIP_BYTES));
    }
    Ok(archive.into())
}
