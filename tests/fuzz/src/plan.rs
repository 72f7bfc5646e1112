//! Bytes as a plan: numbers and texts that are there for any bytes, so that a mutation of them is another
//! plan.

/// What is left to read. At its end there are zeros and empty texts.
pub(crate) struct Plan<'a> {
    rest: &'a [u8],
}

impl<'a> Plan<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = *self.take(1) else { return 0 };
        byte
    }

    pub(crate) fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// As long as a byte ahead of it says.
    pub(crate) fn short(&mut self) -> &'a [u8] {
        let length = self.byte();
        self.take(usize::from(length))
    }

    /// As long as two bytes ahead of it say.
    pub(crate) fn long(&mut self) -> &'a [u8] {
        let length = self.number();
        self.take(usize::from(length))
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}

/// A text as [`Plan::short`] reads it.
pub(crate) fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    [&[length], text].concat()
}

/// A text as [`Plan::long`] reads it.
pub(crate) fn long(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a text");
    [&length.to_le_bytes(), text].concat()
}
