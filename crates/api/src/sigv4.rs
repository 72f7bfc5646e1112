//! AWS Signature Version 4: who sent a request, and that nobody changed it.
//!
//! [`Verifier`] checks signed and presigned requests, [`Signer`] makes signed ones. Source: "AWS
//! Signature Version 4 for API requests", AWS IAM user guide, 2026.
//!
//! What this module does not know: what a caller may do; see [`access`]. Session tokens are not issued
//! here, so one that comes along decides nothing.

mod canonical;
mod claim;
mod door;
mod error;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use canonical::decode;
pub use claim::scope_service;
pub use door::require;
pub(crate) use door::{Refused, authenticate};
pub use error::SignatureError;
pub use sign::Signer;
pub use verify::Verifier;

/// How far a request's time may be from ours, either way.
const SKEW: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// The longest life of a presigned request, seconds: seven days.
const LONGEST_LIFE: u64 = 604_800;
/// What a payload's hash is replaced by when the payload is not signed.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
