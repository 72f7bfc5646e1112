//! Tags of objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The most tags of an object (AWS, "Categorizing your objects using tags", 2026).
const MAX_TAGS: usize = 10;
/// The longest key and value of a tag in UTF-16 units (the same).
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// An object's tags: at most ten, each key once, keys of 1 to 128 and values of up to 256 UTF-16
/// units. Ordered by key. They can be changed without writing the object anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Checks and wraps pairs of keys and values.
    ///
    /// # Errors
    /// [`Error::TooManyTags`], [`Error::InvalidTag`].
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            check(&key, &value).map_err(Error::invalid_tag)?;
            if tags.insert(key, value).is_some() {
                return Err(Error::invalid_tag(
                    "Cannot provide multiple Tags with the same key",
                ));
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(Error::TooManyTags { limit: MAX_TAGS });
        }
        Ok(Self(tags))
    }

    /// Reads tags as headers carry them: `key=value&key=value`, form-encoded.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`Error::InvalidTag`] when the text is not encoded so.
    pub fn from_header(text: &str) -> Result<Self, Error> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((form_decoded(key)?, form_decoded(value)?))
        });
        let pairs: Option<Vec<_>> = pairs.collect();
        Self::new(pairs.ok_or_else(|| {
            Error::invalid_tag("The header 'x-amz-tagging' must be encoded as URL query parameters")
        })?)
    }

    /// The tags, ordered by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether every tag of `wanted` is among these, with its value.
    #[must_use]
    pub fn contain(&self, wanted: &Self) -> bool {
        let mut wanted = wanted.0.iter();
        wanted.all(|(key, value)| self.0.get(key) == Some(value))
    }
}

fn check(key: &str, value: &str) -> Result<(), &'static str> {
    let taken = |text: &str| {
        let mut characters = text.chars();
        characters.all(|c| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c))
    };
    let length = |text: &str| text.encode_utf16().count();
    if key.is_empty() || length(key) > MAX_KEY || !taken(key) {
        return Err("The TagKey you have provided is invalid");
    }
    if key.starts_with("aws:") {
        return Err("System tags cannot be added/updated by requester");
    }
    if length(value) > MAX_VALUE || !taken(value) {
        return Err("The TagValue you have provided is invalid");
    }
    Ok(())
}

/// Form encoding undone; `None` when the text has another.
fn form_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Result<Tags, Error> {
        let pairs = pairs.iter();
        Tags::new(pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_header_is_read_as_a_form_is() {
        let read = Tags::from_header("a%20b=c+d&e=&f&%C3%A9=%2B%3d").unwrap();
        let same = tags(&[("a b", "c d"), ("e", ""), ("f", ""), ("é", "+=")]).unwrap();
        assert_eq!(read, same);
        assert_eq!(Tags::from_header("").unwrap(), Tags::default());
        for broken in ["a=%4", "a=%zz", "%FF=1"] {
            assert!(matches!(
                Tags::from_header(broken),
                Err(Error::InvalidTag { .. })
            ));
        }
    }

    #[test]
    fn tags_are_taken_up_to_the_limits() {
        let (key, value) = ("k".repeat(128), "ü".repeat(256));
        assert!(tags(&[(&key, &value)]).is_ok());
        let long_key = format!("{key}k");
        let long_value = format!("{value}v");
        for (key, value) in [
            ("", "v"),
            (&long_key, "v"),
            ("k", &long_value),
            ("k\n", "v"),
            ("k", "a,b"),
            ("aws:k", "v"),
        ] {
            assert!(
                matches!(tags(&[(key, value)]), Err(Error::InvalidTag { .. })),
                "{key}={value}"
            );
        }
        assert!(matches!(
            tags(&[("k", "1"), ("k", "2")]),
            Err(Error::InvalidTag { .. })
        ));
        let many = |count: usize| Tags::new((0..count).map(|n| (n.to_string(), String::new())));
        assert_eq!(many(10).unwrap().len(), 10);
        assert!(matches!(many(11), Err(Error::TooManyTags { limit: 10 })));
    }
}
