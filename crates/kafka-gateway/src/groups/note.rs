//! What the checkpoint of a group remembers: the words of whoever committed, and when the group was
//! last known to be in use.
//!
//! A stamp stands in front of the words, after a byte with which no text in UTF-8 begins. Notes
//! without one are words alone: they were written before there were stamps.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clock::Timestamp;

/// In front of a stamp.
const STAMPED: u8 = 0xff;
/// The byte and the milliseconds since 1970.
const STAMP: usize = 1 + 8;

/// The note of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// The committer's words, as they came.
    pub(super) words: Bytes,
    /// When the group was last known to be in use, if that is known.
    pub(super) used: Option<Timestamp>,
}

impl Note {
    /// The note of a commit at that time.
    pub(super) fn stamped(words: &[u8], used: Timestamp) -> Self {
        Self {
            words: Bytes::copy_from_slice(words),
            used: Some(used),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(mut bytes: Bytes) -> Self {
        if bytes.first() != Some(&STAMPED) || bytes.len() < STAMP {
            return Self {
                words: bytes,
                used: None,
            };
        }
        bytes.advance(1);
        let used = Some(Timestamp::from_millis(bytes.get_i64()));
        Self { words: bytes, used }
    }

    /// As a checkpoint keeps it.
    pub(super) fn encode(&self) -> Bytes {
        let Some(used) = self.used else {
            return self.words.clone();
        };
        let mut bytes = BytesMut::with_capacity(STAMP + self.words.len());
        bytes.put_u8(STAMPED);
        bytes.put_i64(used.as_millis());
        bytes.extend_from_slice(&self.words);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_with_their_stamp() {
        for words in ["", "words", "\u{ff}"] {
            let note = Note::stamped(words.as_bytes(), Timestamp::from_millis(1_795_000_000_000));
            assert_eq!(Note::decode(note.encode()), note);
        }
    }

    #[test]
    fn a_stamp_is_laid_out_as_ever() {
        let note = Note::stamped(b"ab", Timestamp::from_millis(0x0102_0304));
        assert_eq!(&note.encode()[..], b"\xff\0\0\0\0\x01\x02\x03\x04ab");
    }

    #[test]
    fn words_without_a_stamp_are_words() {
        for words in [&b""[..], b"words", b"\xff short"] {
            let note = Note::decode(Bytes::copy_from_slice(words));
            assert_eq!((&note.words[..], note.used), (words, None));
        }
    }
}
