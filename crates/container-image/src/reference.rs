//! How an image is named.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error};

/// Bytes of a repository's name (distribution specification 1.1).
const NAME_BYTES: usize = 255;

/// Characters of a tag (distribution specification 1.1).
const TAG_CHARS: usize = 128;

/// What begins the name of an image in a folder.
const LAYOUT: &str = "oci:";

/// An image's name: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, or `oci:NAME[:TAG][@DIGEST]` for one in the
/// operator's folder of OCI layouts. A registry is always named: there is none by default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    place: Place,
    name: String,
    version: Version,
}

/// Where images are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A registry, `HOST[:PORT]`.
    Registry(String),
    /// The folder of OCI layouts.
    Layouts,
}

/// Which one of a name's images.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// What this tag leads to today.
    Tag(String),
    /// One for ever.
    Digest(Digest),
    /// Of a layout: the only one, or the one tagged `latest`.
    Only,
}

impl Reference {
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn version(&self) -> &Version {
        &self.version
    }

    /// The same name, and this image of it for ever.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            version: Version::Digest(digest),
            ..self.clone()
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Reference {
            text: text.chars().take(300).collect(),
            reason,
        };
        let (place, rest) = match text.strip_prefix(LAYOUT) {
            Some(rest) => (Place::Layouts, rest),
            None => {
                let registry = text.split_once('/').filter(|(host, _)| is_host(host));
                let (host, rest) = registry.ok_or_else(|| {
                    wrong("it begins with neither a registry's HOST[:PORT]/ nor oci:")
                })?;
                (Place::Registry(host.to_owned()), rest)
            }
        };
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => {
                let digest = digest.parse::<Digest>();
                let digest = digest.map_err(|_| wrong("what follows @ is no sha256:HEX"))?;
                (rest, Some(digest))
            }
        };
        let (name, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((name, tag)) if is_tag(tag) => (name, Some(tag)),
            Some(_) => return Err(wrong("what follows : is no tag")),
        };
        if name.len() > NAME_BYTES || !name.split('/').all(is_component) {
            return Err(wrong(
                "the repository's name is made of a-z 0-9 . _ - and / between them",
            ));
        }
        let version = match (digest, tag, &place) {
            (Some(digest), _, _) => Version::Digest(digest),
            (None, Some(tag), _) => Version::Tag(tag.to_owned()),
            (None, None, Place::Registry(_)) => Version::Tag("latest".to_owned()),
            (None, None, Place::Layouts) => Version::Only,
        };
        Ok(Self {
            name: name.to_owned(),
            place,
            version,
        })
    }
}

/// As the container tools tell a registry from the first part of a name.
fn is_host(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let host = text == "localhost" || text.contains(['.', ':']);
    host && text.bytes().all(legal)
}

fn is_tag(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.len() <= TAG_CHARS
        && text.as_bytes().first().is_some_and(begins)
        && text.bytes().all(legal)
}

/// Begins and ends with a letter or a digit, so that it is neither `.` nor `..`.
fn is_component(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let legal = |byte: u8| plain(&byte) || b"._-".contains(&byte);
    let bytes = text.as_bytes();
    bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) && text.bytes().all(legal)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Registry(host) => write!(f, "{host}/{}", self.name)?,
            Place::Layouts => write!(f, "{LAYOUT}{}", self.name)?,
        }
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
            Version::Only => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_container_tools_read_it() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, shown) in [
            ("r.example/a/b:1.0", "r.example/a/b:1.0"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("[::1]:5000/a:x", "[::1]:5000/a:x"),
            ("oci:a/b", "oci:a/b"),
            ("oci:a:1", "oci:a:1"),
            (
                &format!("r.example/a:1@{digest}"),
                &format!("r.example/a@{digest}"),
            ),
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!(read.to_string(), shown);
        }
    }

    #[test]
    fn what_leaves_its_place_or_names_no_registry_is_refused() {
        for text in [
            "",
            "a",
            "a:1",
            "library/a",
            "oci:",
            "oci:../a",
            "oci:a/../b",
            "oci:/a",
            "oci:a/",
            "oci:.a",
            "r.example/",
            "r.example/A",
            "r.example/a:",
            "r.example/a:..",
            "r.example/a:b/c",
            "r.example/a@sha256:00",
            "r.example/a b",
            "u@r.example/a",
            "https://r.example/a",
            "r.example/a?x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
