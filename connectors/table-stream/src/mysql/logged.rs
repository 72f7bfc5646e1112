//! A place in the binary log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A byte of one of the log's files, which are numbered.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(super) struct LogPlace {
    pub(super) file: u32,
    pub(super) byte: u32,
}

/// The name of a file of the log: what all of them begin with, and the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) base: String,
    pub(super) number: u32,
}

impl LogPlace {
    /// As one number of the same order.
    pub(super) fn number(self) -> u64 {
        u64::from(self.file) << 32 | u64::from(self.byte)
    }

    /// The place of that number.
    pub(super) fn of_number(number: u64) -> Self {
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self {
            file: half(number >> 32),
            byte: half(number),
        }
    }
}

impl FileName {
    /// Reads `base.000123`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (base, number) = text.rsplit_once('.')?;
        Some(Self {
            base: base.to_owned(),
            number: number.parse().ok()?,
        })
    }
}

/// `base.000123`, as the server writes it.
impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.base, self.number)
    }
}

/// `000123:4`: the file's number and the byte in it.
impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}:{}", self.file, self.byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_is_named_as_the_server_names_it() {
        for text in ["mysql-bin.000007", "a.b.1234567"] {
            assert_eq!(FileName::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(FileName::parse("binlog"), None);
        assert_eq!(FileName::parse("binlog.index"), None);
    }

    proptest! {
        #[test]
        fn numbers_have_the_order_of_places(a: (u32, u32), b: (u32, u32)) {
            let place = |(file, byte)| LogPlace { file, byte };
            let (one, other) = (place(a), place(b));
            prop_assert_eq!(LogPlace::of_number(one.number()), one);
            prop_assert_eq!(one.number().cmp(&other.number()), one.cmp(&other));
        }
    }
}
