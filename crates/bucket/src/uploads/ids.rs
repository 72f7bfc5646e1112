//! Names of uploads and parts.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Error;

/// The most parts of an upload (AWS, "Multipart upload limits", 2026).
const MAX_PART: u16 = 10_000;

/// An upload's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UploadId(#[serde(with = "uuid::serde::simple")] Uuid);

/// A part's number: 1 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PartNumber(u16);

impl UploadId {
    /// An id that no upload has had.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`]: no upload has an id that is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Error::NoSuchUpload {
                upload: text.chars().take(100).collect(),
            })
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl PartNumber {
    /// Checks and wraps a number.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] outside 1 to 10,000.
    pub fn new(number: impl TryInto<u16>) -> Result<Self, Error> {
        number
            .try_into()
            .ok()
            .filter(|number| (1..=MAX_PART).contains(number))
            .map(Self)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "part number must be an integer from 1 to {MAX_PART}"
                ))
            })
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for PartNumber {
    type Error = Error;

    fn try_from(number: u16) -> Result<Self, Error> {
        Self::new(number)
    }
}

impl From<PartNumber> for u16 {
    fn from(number: PartNumber) -> Self {
        number.0
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
