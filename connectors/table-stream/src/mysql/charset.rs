//! Character sets, to UTF-8.
//!
//! Rows in the log have the bytes of their columns' character sets. Which collation is of which set, and
//! what the bytes of sets with one byte for a character mean, is asked of the server itself.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

/// A character set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// Bytes that are no text.
    Binary,
    /// UTF-8 and what is part of it.
    Utf8,
    /// Two bytes for a unit of UTF-16, the higher first.
    Utf16,
    Utf16Little,
    Utf32,
    /// One byte for a character.
    Single(Arc<[char; 256]>),
}

/// The character sets of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Charsets {
    names: HashMap<u32, String>,
    single: HashMap<String, Charset>,
}

/// The collation of bytes that are no text.
const BINARY: u32 = 63;

impl Charsets {
    /// Character sets by their collations' numbers.
    pub(super) fn new(names: HashMap<u32, String>) -> Self {
        Self {
            names,
            single: HashMap::new(),
        }
    }

    /// Adds a set with one byte for a character.
    pub(super) fn add(&mut self, name: &str, characters: [char; 256]) {
        let charset = Charset::Single(Arc::new(characters));
        self.single.insert(name.to_owned(), charset);
    }

    /// The set of a collation.
    ///
    /// # Errors
    /// The name of one that is not supported.
    pub(super) fn of(&self, collation: u32) -> Result<Charset, String> {
        if collation == BINARY {
            return Ok(Charset::Binary);
        }
        let unknown = || format!("a character set of collation {collation}");
        let name = self.names.get(&collation).ok_or_else(unknown)?;
        self.named(name)
    }

    /// The set of that name.
    ///
    /// # Errors
    /// The name, when it is not supported.
    pub(super) fn named(&self, name: &str) -> Result<Charset, String> {
        match name {
            "binary" => Ok(Charset::Binary),
            "utf8" | "utf8mb3" | "utf8mb4" | "ascii" => Ok(Charset::Utf8),
            "ucs2" | "utf16" => Ok(Charset::Utf16),
            "utf16le" => Ok(Charset::Utf16Little),
            "utf32" => Ok(Charset::Utf32),
            other => {
                let single = self.single.get(other).cloned();
                single.ok_or_else(|| format!("the character set {other}"))
            }
        }
    }
}

impl Charset {
    /// What the server would send to a client that speaks UTF-8. What is no text stays as it is.
    pub(super) fn text(&self, bytes: &[u8]) -> Bytes {
        let units = |unit: fn([u8; 2]) -> u16| -> Bytes {
            let units = bytes.chunks_exact(2).map(|two| unit([two[0], two[1]]));
            char::decode_utf16(units)
                .map(|char| char.unwrap_or('?'))
                .collect::<String>()
                .into()
        };
        match self {
            Self::Binary | Self::Utf8 => Bytes::copy_from_slice(bytes),
            Self::Utf16 => units(u16::from_be_bytes),
            Self::Utf16Little => units(u16::from_le_bytes),
            Self::Utf32 => bytes
                .chunks_exact(4)
                .map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
                .map(|code| char::from_u32(code).unwrap_or('?'))
                .collect::<String>()
                .into(),
            Self::Single(characters) => bytes
                .iter()
                .map(|byte| characters[usize::from(*byte)])
                .collect::<String>()
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_set_is_read() {
        let mut latin = ['?'; 256];
        for (byte, char) in (0..=255u8).zip(&mut latin) {
            *char = char::from(byte);
        }
        let mut charsets = Charsets::new([(8, "latin1".to_owned()), (1, "big5".to_owned())].into());
        charsets.add("latin1", latin);
        let text = |charset: &Charset, bytes: &[u8]| charset.text(bytes);
        assert_eq!(text(&charsets.of(8).unwrap(), b"\xFCx"), "üx");
        assert_eq!(text(&Charset::Utf16, &[0xD8, 0x3D, 0xDE, 0x00]), "😀");
        assert_eq!(text(&Charset::Utf16Little, &[0x41, 0]), "A");
        assert_eq!(text(&Charset::Utf32, &[0, 1, 0xF6, 0]), "😀");
        assert_eq!(charsets.of(63), Ok(Charset::Binary));
        assert_eq!(
            charsets.of(1).unwrap_err(),
            "the character set big5",
            "by its name"
        );
        assert!(charsets.of(999).unwrap_err().contains("999"));
    }
}
