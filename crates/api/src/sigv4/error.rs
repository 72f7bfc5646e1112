//! Why a request is not believed.

use http::StatusCode;

/// A request that is not who it says, or is not said properly. Reject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("Missing Authentication Token")]
    Missing,
    /// The signature lacks a part, or a part cannot be read.
    #[error("the signature is incomplete: {reason}")]
    Incomplete {
        /// What is missing.
        reason: String,
    },
    /// The access key is not one of ours.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The signature is not the one that this request has.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your \
         AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
    /// The body is not the one that was signed.
    #[error("The value of x-amz-content-sha256 does not match the body that was received.")]
    Body,
    /// It was signed too long ago, or in the future.
    #[error("Signature expired: {signed} is more than 15 minutes away from {now}")]
    Skewed {
        /// When it says it was signed.
        signed: String,
        /// Our time.
        now: String,
    },
    /// It was presigned for a time that is over.
    #[error("Request has expired: it was presigned until {until}")]
    Expired {
        /// When it ended.
        until: String,
    },
    /// It was signed for something else.
    #[error("Credential should be scoped to {expected}, not {found}")]
    Scope {
        /// What it must say.
        expected: String,
        /// What it says.
        found: String,
    },
}

impl SignatureError {
    /// AWS's name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete { .. } => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Mismatch | Self::Body | Self::Skewed { .. } | Self::Scope { .. } => {
                "InvalidSignatureException"
            }
            Self::Expired { .. } => "RequestExpired",
        }
    }

    /// The answer's status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Incomplete { .. } => StatusCode::BAD_REQUEST,
            Self::Missing
            | Self::UnknownKey
            | Self::Mismatch
            | Self::Body
            | Self::Skewed { .. }
            | Self::Expired { .. }
            | Self::Scope { .. } => StatusCode::FORBIDDEN,
        }
    }
}
