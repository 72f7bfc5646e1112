//! Ids of versions.

use std::fmt;

use uuid::Uuid;

use crate::{Error, Sequencer};

/// How the id of a version without one is written.
const NULL: &str = "null";
/// Hexadecimal digits of an id.
const DIGITS: usize = 32;

/// Which version of an object: one by the id that it was given as it was written, or the one that
/// has none, `null`, which is what buckets write that are not versioned, or are no more. An object
/// has at most one of those.
///
/// As text an id has 32 hexadecimal digits, safe in any URL. Its first half is the version's place in
/// the order of changes, by which it is found; the second is random, so that no two are ever the same.
/// Clients must not rely on either.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionId {
    order: Sequencer,
    random: u64,
}

impl VersionId {
    /// The version without an id.
    pub const NULL: Self = Self {
        order: Sequencer::FIRST,
        random: 0,
    };

    /// An id that no version ever has.
    pub(crate) const NOBODYS: Self = Self {
        order: Sequencer::FIRST,
        random: 1,
    };

    /// A new id for the version that is written at that place in the order of changes.
    pub(crate) fn new(order: Sequencer) -> Self {
        let (_, random) = Uuid::new_v4().as_u64_pair();
        Self { order, random }
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`Error::InvalidVersionId`] when it is none that a store could have given.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text == NULL {
            return Ok(Self::NULL);
        }
        let half = |digits: Option<&str>| u64::from_str_radix(digits?, 16).ok();
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let well_shaped = text.len() == DIGITS && text.bytes().all(digits);
        let halves = half(text.get(..DIGITS / 2)).zip(half(text.get(DIGITS / 2..)));
        match halves.filter(|_| well_shaped) {
            Some((order, random)) => Ok(Self {
                order: Sequencer::from_bits(order),
                random,
            }),
            None => Err(Error::InvalidVersionId {
                id: text.chars().take(100).collect(),
            }),
        }
    }

    /// The version's place in the order of changes; `None` of `null`, which says nothing about it.
    pub(crate) fn order(self) -> Option<Sequencer> {
        (self != Self::NULL).then_some(self.order)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NULL => f.write_str(NULL),
            Self { order, random } => write!(f, "{:016x}{random:016x}", order.to_bits()),
        }
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
impl VersionId {
    /// The same id for the same place each time.
    pub(crate) const fn at(order: Sequencer) -> Self {
        Self { order, random: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_two_of_one_place_differ() {
        let at = Sequencer::from_bits(0xab);
        let (one, other) = (VersionId::new(at), VersionId::new(at));
        assert_ne!(one, other);
        for id in [one, other, VersionId::NULL] {
            assert_eq!(VersionId::parse(&id.to_string()).unwrap(), id);
        }
        assert_eq!(one.order(), Some(at));
        assert_eq!(VersionId::NULL.order(), None);
        assert_eq!(VersionId::NULL.to_string(), "null");
    }

    #[test]
    fn what_no_store_gives_is_no_id() {
        for text in [
            "",
            "Null",
            "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY",
            "00000000000000AB00000000000000ab",
            "+0000000000000ab00000000000000ab",
            "00000000000000ab00000000000000é",
        ] {
            assert!(
                matches!(VersionId::parse(text), Err(Error::InvalidVersionId { .. })),
                "{text}"
            );
        }
    }
}
