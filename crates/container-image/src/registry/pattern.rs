//! Which registries may be asked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `HOST` or `HOST:PORT` as it stands in names of images; `*.DOMAIN` with or without a port for all below
/// a domain; `*` for every registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryPattern(String);

/// Text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no registry: give HOST, HOST:PORT, *.DOMAIN or *")]
pub struct PatternError {
    text: String,
}

impl RegistryPattern {
    /// Whether it permits the registry `host`, with its port if the name has one.
    pub(crate) fn matches(&self, host: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some("") => !host.is_empty(),
            Some(domain) => host
                .strip_suffix(domain)
                .is_some_and(|name| !name.is_empty()),
            None => self.0 == host,
        }
    }
}

impl TryFrom<String> for RegistryPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        let host = text.strip_prefix("*.").unwrap_or(&text);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if text == "*" || (!host.is_empty() && host.bytes().all(legal)) {
            Ok(Self(text))
        } else {
            Err(PatternError { text })
        }
    }
}

impl From<RegistryPattern> for String {
    fn from(pattern: RegistryPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for RegistryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_permits_what_it_says_and_nothing_beside() {
        let permits = |pattern: &str, host| {
            RegistryPattern::try_from(pattern.to_owned())
                .unwrap()
                .matches(host)
        };
        assert!(permits("r.example", "r.example"));
        assert!(permits("127.0.0.1:5000", "127.0.0.1:5000"));
        assert!(permits("*.r.example:5000", "a.r.example:5000"));
        assert!(permits("*", "anything:1"));
        assert!(!permits("r.example", "r.example:5000"));
        assert!(!permits("*.r.example", "r.example"));
        assert!(!permits("*.r.example", "evil-r.example"));
        assert!(!permits("*", ""));
        for wrong in ["", "https://r.example", "r.example/a", "a*b", "*."] {
            assert!(
                RegistryPattern::try_from(wrong.to_owned()).is_err(),
                "{wrong}"
            );
        }
    }
}
