//! Errors in AWS's words.

use access::Denied;
use axum::response::{IntoResponse, Response};
use function::limits::UNZIPPED_BYTES;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::sigv4::SignatureError;

/// An answer that is not what was asked for. The text is the message that the caller sees.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// A parameter breaks the service model.
    #[error("1 validation error detected: {0}")]
    Validation(String),
    /// A parameter has a value that cannot be used here.
    #[error("{0}")]
    InvalidParameter(String),
    /// The body is not what it must be.
    #[error("{0}")]
    InvalidRequestContent(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Nothing is provisioned.
    #[error("No Provisioned Concurrency Config found for this function")]
    NotProvisioned,
    /// It exists already, or is being changed by somebody else.
    #[error("{0}")]
    Conflict(String),
    /// The caller's revision is not the current one.
    #[error(
        "The RevisionId provided does not match the latest RevisionId. Call the \
         GetFunction/GetAlias API to retrieve the latest RevisionId"
    )]
    PreconditionFailed,
    /// The resource policy would become too long.
    #[error("The final policy size ({size}) is bigger than the limit ({limit}).")]
    PolicyTooLong { size: usize, limit: usize },
    /// An event is too large.
    #[error("Request must be smaller than {limit} bytes for the InvokeFunction operation")]
    PayloadTooLarge { limit: usize },
    /// A request is too large.
    #[error("Request must be smaller than {limit} bytes")]
    RequestTooLarge { limit: usize },
    /// Too many invocations run.
    #[error("{message}")]
    Throttled {
        message: String,
        reason: &'static str,
    },
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The caller may not do that.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An operation that AWS has and this server has not.
    #[error("{operation} is not supported yet")]
    NotSupported { operation: &'static str },
    /// A path or method that is none of AWS's.
    #[error("{0} is no operation of the Lambda API")]
    UnknownOperation(String),
    /// The server's own failure.
    #[error("{0}")]
    Service(String),
}

impl ApiError {
    pub(crate) const fn request_entity_too_large(limit: usize) -> Self {
        Self::RequestTooLarge { limit }
    }

    pub(crate) fn broken_request(error: &axum::Error) -> Self {
        Self::InvalidRequestContent(format!("Could not read the request: {error}"))
    }

    /// A failure of the server, told to the caller as AWS does and to the log as it is.
    pub(crate) fn service(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        tracing::error!(error = text, "an operation of the Lambda API failed");
        Self::Service(text)
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Validation(_)
            | Self::InvalidParameter(_)
            | Self::InvalidRequestContent(_)
            | Self::PolicyTooLong { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound(_) | Self::NotProvisioned | Self::UnknownOperation(_) => {
                StatusCode::NOT_FOUND
            }
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PayloadTooLarge { .. } | Self::RequestTooLarge { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Signature(error) => error.status(),
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::NotSupported { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Service(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error's name: one of the service model's, or the name that AWS's front door uses for
    /// what never reaches the service.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::InvalidParameter(_) => "InvalidParameterValueException",
            Self::InvalidRequestContent(_) => "InvalidRequestContentException",
            Self::NotFound(_) => "ResourceNotFoundException",
            Self::NotProvisioned => "ProvisionedConcurrencyConfigNotFoundException",
            Self::Conflict(_) => "ResourceConflictException",
            Self::PreconditionFailed => "PreconditionFailedException",
            Self::PolicyTooLong { .. } => "PolicyLengthExceededException",
            Self::PayloadTooLarge { .. } => "RequestTooLargeException",
            Self::RequestTooLarge { .. } => "RequestEntityTooLargeException",
            Self::Throttled { .. } => "TooManyRequestsException",
            Self::Signature(error) => error.code(),
            Self::Denied(_) => "AccessDeniedException",
            Self::NotSupported { .. } => "NotImplementedException",
            Self::UnknownOperation(_) => "UnknownOperationException",
            Self::Service(_) => "ServiceException",
        }
    }

    /// The message's member: the service model spells it differently from error to error.
    const fn message_member(&self) -> &'static str {
        match self {
            Self::NotFound(_)
            | Self::Denied(_)
            | Self::NotSupported { .. }
            | Self::UnknownOperation(_)
            | Self::Service(_) => "Message",
            Self::Validation(_)
            | Self::InvalidParameter(_)
            | Self::InvalidRequestContent(_)
            | Self::NotProvisioned
            | Self::Conflict(_)
            | Self::PreconditionFailed
            | Self::PolicyTooLong { .. }
            | Self::PayloadTooLarge { .. }
            | Self::RequestTooLarge { .. }
            | Self::Throttled { .. }
            | Self::Signature(_) => "message",
        }
    }

    fn body(&self) -> Value {
        let by = match self.status().is_server_error() {
            true => "Service",
            false => "User",
        };
        let mut body = Map::new();
        body.insert("Type".to_owned(), json!(by));
        body.insert(self.message_member().to_owned(), json!(self.to_string()));
        if let Self::Throttled { reason, .. } = self {
            body.insert("Reason".to_owned(), json!(reason));
        }
        Value::Object(body)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), axum::Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert("x-amzn-errortype", HeaderValue::from_static(self.code()));
        if let Self::Throttled { .. } = self {
            headers.insert("retry-after", HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<function::Error> for ApiError {
    fn from(error: function::Error) -> Self {
        match error {
            function::Error::UnknownFunction { ref function } => {
                Self::NotFound(format!("Function not found: {function}"))
            }
            function::Error::FunctionExists { ref function } => {
                Self::Conflict(format!("Function already exist: {function}"))
            }
            function::Error::UnknownQualifier { ref target } => {
                Self::NotFound(format!("Function not found: {target}"))
            }
            function::Error::AliasExists {
                ref function,
                ref alias,
            } => Self::Conflict(format!("Alias already exists: {function}:{alias}")),
            function::Error::VersionInUse {
                ref function,
                version,
                ref alias,
            } => Self::Conflict(format!(
                "Version {version} of function {function} cannot be deleted: the alias {alias} \
                 points at it"
            )),
            function::Error::CodeMismatch { ref current, .. } => Self::InvalidParameter(format!(
                "CodeSHA256 is different from current CodeSHA256 in $LATEST ({current}). Please \
                 try again with the CodeSHA256 in $LATEST."
            )),
            function::Error::UnknownTrigger { .. } => {
                Self::NotFound("The resource you requested does not exist.".to_owned())
            }
            function::Error::TriggerExists { .. } => {
                Self::Conflict("The resource already exists.".to_owned())
            }
            function::Error::UnknownLayer { ref layer } => {
                Self::InvalidParameter(format!("Layer version {layer} does not exist."))
            }
            function::Error::LayersTooLarge { bytes, .. } => Self::InvalidParameter(format!(
                "Function code combined with layers exceeds the maximum allowed size of \
                 {UNZIPPED_BYTES} bytes. The actual size is {bytes} bytes."
            )),
            function::Error::RevisionMismatch { .. } => Self::PreconditionFailed,
            function::Error::ImagePending { ref function } => Self::Conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for \
                 resource: {function}"
            )),
            function::Error::OtherPackageType { .. } => Self::InvalidParameter(error.to_string()),
            function::Error::Image(error) => Self::service(&error),
            function::Error::Package(error) => error.into(),
            function::Error::Conflict { document } => Self::Conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for \
                 resource: {document}"
            )),
            function::Error::Damaged { .. }
            | function::Error::Store { .. }
            | function::Error::Cache { .. } => Self::service(&error),
        }
    }
}

impl From<function::PackageError> for ApiError {
    fn from(error: function::PackageError) -> Self {
        match error {
            function::PackageError::Malformed { .. } | function::PackageError::Refused { .. } => {
                Self::InvalidParameter(format!(
                    "Could not unzip uploaded file. Please check your file, then try to upload \
                     again. ({error})"
                ))
            }
            function::PackageError::TooLarge { limit, unit } => {
                Self::InvalidParameter(format!("Unzipped size must be smaller than {limit} {unit}"))
            }
            function::PackageError::Io { .. } => Self::service(&error),
        }
    }
}

impl From<event_log::Error> for ApiError {
    fn from(error: event_log::Error) -> Self {
        Self::service(&error)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn shown(error: ApiError) -> (u16, String, Value) {
        let response = error.into_response();
        let code = response.headers()["x-amzn-errortype"].to_str().unwrap();
        let (status, code) = (response.status().as_u16(), code.to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, code, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn errors_have_the_names_states_and_spelling_of_the_service_model() {
        let text = || "x".to_owned();
        let table = [
            (
                ApiError::InvalidParameter(text()),
                400,
                "InvalidParameterValueException",
                "message",
            ),
            (
                ApiError::InvalidRequestContent(text()),
                400,
                "InvalidRequestContentException",
                "message",
            ),
            (
                ApiError::NotFound(text()),
                404,
                "ResourceNotFoundException",
                "Message",
            ),
            (
                ApiError::Conflict(text()),
                409,
                "ResourceConflictException",
                "message",
            ),
            (
                ApiError::PreconditionFailed,
                412,
                "PreconditionFailedException",
                "message",
            ),
            (
                ApiError::PolicyTooLong { size: 2, limit: 1 },
                400,
                "PolicyLengthExceededException",
                "message",
            ),
            (
                ApiError::PayloadTooLarge { limit: 1 },
                413,
                "RequestTooLargeException",
                "message",
            ),
            (
                ApiError::NotSupported {
                    operation: "InvokeAsync",
                },
                501,
                "NotImplementedException",
                "Message",
            ),
            (
                ApiError::Service(text()),
                500,
                "ServiceException",
                "Message",
            ),
            (
                SignatureError::Missing.into(),
                403,
                "MissingAuthenticationTokenException",
                "message",
            ),
        ];
        for (error, status, code, member) in table {
            let text = error.to_string();
            let by = if status >= 500 { "Service" } else { "User" };
            let shown = shown(error).await;
            assert_eq!(
                shown,
                (status, code.to_owned(), json!({"Type": by, member: text}))
            );
        }
    }

    #[tokio::test]
    async fn throttling_says_which_limit_was_met() {
        let reason = "ConcurrentInvocationLimitExceeded";
        let throttled = ApiError::Throttled {
            message: "Rate Exceeded.".to_owned(),
            reason,
        };
        let (status, code, body) = shown(throttled).await;
        assert_eq!((status, code.as_str()), (429, "TooManyRequestsException"));
        assert_eq!(
            body,
            json!({"Type": "User", "message": "Rate Exceeded.", "Reason": reason})
        );
    }

    #[test]
    fn a_bad_package_is_told_as_aws_tells_it_and_why() {
        let refused = function::PackageError::Malformed {
            reason: "it is empty".to_owned(),
        };
        let text = ApiError::from(refused).to_string();
        assert!(text.starts_with("Could not unzip uploaded file. Please check your file"));
        assert!(text.contains("it is empty"));
    }
}
