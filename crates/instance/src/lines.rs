//! What a function prints, cut into lines.

use bytes::{Bytes, BytesMut};

/// The longest line that is kept together, in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

/// Text that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// The beginning of a line, or nothing.
    text: BytesMut,
}

impl Partial {
    /// Where the next piece is to be appended.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.text
    }

    /// Cuts off the whole lines, or a line that has grown too long.
    pub(crate) fn cut(&mut self) -> Option<Bytes> {
        match self.text.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => Some(self.text.split_to(end + 1).freeze()),
            None if self.text.len() >= LONGEST => Some(ended(self.text.split())),
            None => None,
        }
    }

    /// Everything, a last line without its end included.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        (!self.text.is_empty()).then(|| ended(self.text.split()))
    }
}

/// `text` with a line's end.
fn ended(mut text: BytesMut) -> Bytes {
    if text.last() != Some(&b'\n') {
        text.extend_from_slice(b"\n");
    }
    text.freeze()
}
