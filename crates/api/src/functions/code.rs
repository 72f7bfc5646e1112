//! Where a request says the code is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use function::limits::{UNZIPPED_BYTES, ZIP_BYTES};
use serde_json::json;

use crate::members::Members;
use crate::{ApiError, CodeSourceError, State};

/// The package that these members give or name. Takes them.
pub(super) async fn package(state: &State, members: &mut Members) -> Result<Bytes, ApiError> {
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
