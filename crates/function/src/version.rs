//! Versions of a function, and how one of them is asked for.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::FunctionName;
use crate::limits::ALIAS_NAME_CHARS;

/// A version of a function: its unpublished head, or a number. Ordered as users see them: the head
/// first, then by number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub enum Version {
    /// The unpublished head, `$LATEST`, which changes.
    #[default]
    Latest,
    /// A published version, from 1 upwards, which does not.
    Published(NonZeroU64),
}

/// What a caller wrote after a function's name to say which version is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Qualifier {
    /// This version.
    Version(Version),
    /// The version, or one of the two, that the alias points at.
    Alias(AliasName),
}

/// A function with what a caller wrote after its name. Displayed as `NAME` or `NAME:QUALIFIER`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName {
    /// The function.
    pub name: FunctionName,
    /// `None` means `$LATEST`, too, but is shown without a qualifier.
    pub qualifier: Option<Qualifier>,
}

/// An alias's name: 1 to 128 of `[a-zA-Z0-9-_]`, not digits alone. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AliasName(Arc<str>);

/// Text that names no version and could name no alias.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("qualifier {text:?} is neither $LATEST, nor a version's number, nor an alias's name")]
pub struct QualifierError {
    text: String,
}

impl Version {
    /// The unpublished head, as users and bills see it.
    pub const LATEST: &str = "$LATEST";

    /// The published version of that number; `None` for 0.
    #[must_use]
    pub fn published(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self::Published)
    }
}

impl Qualifier {
    /// The unpublished head.
    pub const LATEST: Self = Self::Version(Version::Latest);
}

impl QualifiedName {
    /// A function without a qualifier.
    #[must_use]
    pub const fn unqualified(name: FunctionName) -> Self {
        Self {
            name,
            qualifier: None,
        }
    }

    /// Whether both mean the same, however `$LATEST` is written.
    #[must_use]
    pub fn means_the_same(&self, other: &Self) -> bool {
        self.name == other.name && self.meant() == other.meant()
    }

    /// The qualifier that is meant where none is written.
    #[must_use]
    pub fn meant(&self) -> &Qualifier {
        self.qualifier.as_ref().unwrap_or(&Qualifier::LATEST)
    }
}

impl AliasName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`QualifierError`] when the name breaks AWS's rule.
    pub fn new(name: impl AsRef<str>) -> Result<Self, QualifierError> {
        let name = name.as_ref();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let number = name.bytes().all(|byte| byte.is_ascii_digit());
        if number || name.len() > ALIAS_NAME_CHARS || !name.bytes().all(legal) {
            return Err(refused(name));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = QualifierError;

    /// Reads `$LATEST` or a number as [`Display`](fmt::Display) writes it.
    fn from_str(text: &str) -> Result<Self, QualifierError> {
        if text == Self::LATEST {
            return Ok(Self::Latest);
        }
        let version = text.parse().ok().and_then(Self::published);
        // One spelling each: no sign and no leading zero.
        let canonical = version.filter(|version| version.to_string() == text);
        canonical.ok_or_else(|| refused(text))
    }
}

impl FromStr for Qualifier {
    type Err = QualifierError;

    fn from_str(text: &str) -> Result<Self, QualifierError> {
        match text.parse() {
            Ok(version) => Ok(Self::Version(version)),
            Err(_) => AliasName::new(text).map(Self::Alias),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(Self::LATEST),
            Self::Published(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Alias(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.qualifier {
            None => self.name.fmt(f),
            Some(qualifier) => write!(f, "{}:{qualifier}", self.name),
        }
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Version {
    type Error = QualifierError;

    fn try_from(text: String) -> Result<Self, QualifierError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Qualifier {
    type Error = QualifierError;

    fn try_from(text: String) -> Result<Self, QualifierError> {
        text.parse()
    }
}

impl From<Qualifier> for String {
    fn from(qualifier: Qualifier) -> Self {
        qualifier.to_string()
    }
}

impl TryFrom<String> for AliasName {
    type Error = QualifierError;

    fn try_from(text: String) -> Result<Self, QualifierError> {
        Self::new(text)
    }
}

impl From<AliasName> for String {
    fn from(name: AliasName) -> Self {
        name.0.as_ref().to_owned()
    }
}

fn refused(text: &str) -> QualifierError {
    QualifierError {
        text: text.chars().take(140).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_qualifier_is_the_head_a_number_or_a_name() {
        let read = |text: &str| text.parse::<Qualifier>().ok();
        let number = |number| Version::published(number).map(Qualifier::Version);
        assert_eq!(read("$LATEST"), Some(Qualifier::LATEST));
        assert_eq!(read("7"), number(7));
        let name = AliasName::new("v-7_x").unwrap();
        assert_eq!(read("v-7_x"), Some(Qualifier::Alias(name)));
        let long = "a".repeat(129);
        for text in ["", "0", "007", "+7", "$latest", "a b", "a:b", &long] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read("99999999999999999999999"), None);
    }

    #[test]
    fn versions_are_ordered_by_number_after_the_head() {
        let mut versions = [10, 2]
            .map(|number| Version::published(number).unwrap())
            .to_vec();
        versions.push(Version::Latest);
        versions.sort_unstable();
        let shown: Vec<_> = versions.iter().map(Version::to_string).collect();
        assert_eq!(shown, ["$LATEST", "2", "10"]);
    }

    proptest! {
        #[test]
        fn a_qualifier_is_read_back_as_it_was(text in "\\$LATEST|[1-9][0-9]{0,18}|[a-zA-Z0-9_-]{0,20}[a-zA-Z_-]") {
            let qualifier: Qualifier = text.parse().unwrap();
            prop_assert_eq!(qualifier.to_string(), text);
            let json = serde_json::to_string(&qualifier).unwrap();
            prop_assert_eq!(serde_json::from_str::<Qualifier>(&json).unwrap(), qualifier);
        }
    }
}
