//! What a program says, on its way to becoming the result.

use bytes::Bytes;
use instance::MAX_RESPONSE_BYTES;

/// What was written to standard output, or handed over: counted in full, kept as far as a response may
/// be long.
#[derive(Debug, Default)]
pub(crate) struct Output {
    kept: Vec<u8>,
    written: u64,
}

impl Output {
    /// Takes the next piece.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        let room = MAX_RESPONSE_BYTES - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// `bytes` and nothing else.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut output = Self::default();
        output.write(bytes);
        output
    }

    /// How long it is, and what is kept of it.
    pub(crate) fn into_parts(self) -> (u64, Bytes) {
        (self.written, self.kept.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beyond_a_response_is_counted_and_not_kept() {
        let mut output = Output::default();
        output.write(&vec![b'a'; MAX_RESPONSE_BYTES - 1]);
        output.write(b"bcd");
        output.write(b"e");
        let (written, kept) = output.into_parts();
        assert_eq!(written, MAX_RESPONSE_BYTES as u64 + 3);
        assert_eq!(kept.len(), MAX_RESPONSE_BYTES);
        assert!(kept.ends_with(b"ab"));
    }
}
