//! Walks a frame along the shape of its request before anything is allocated.
//!
//! The walk reads lengths exactly as the codec does, so that a frame which passes holds as many
//! elements as it claims; what it does not check (text that is not UTF-8, null where none is
//! allowed) the codec refuses without allocating.

use kafka_protocol::messages::ApiKey;

use super::FIXED_HEADER;
use super::requests;

/// The most array elements and tagged fields in one request.
const MAX_ELEMENTS: usize = 100_000;

/// Why a frame does not have its request's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misshapen {
    #[error("it ends too early")]
    Short,
    #[error("a length is negative")]
    NegativeLength,
    #[error("it holds more than {MAX_ELEMENTS} elements")]
    TooManyElements,
}

/// A struct on the wire: its fields in order, then the tagged fields that the codec knows.
pub(super) struct Shape {
    pub(super) fields: &'static [Field],
    pub(super) tags: &'static [(u32, Kind)],
}

/// A field, present in the versions `from..=to`.
pub(super) struct Field {
    pub(super) from: i16,
    pub(super) to: i16,
    pub(super) kind: Kind,
}

/// How a field is written.
pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, maybe null.
    Text,
    /// Bytes, maybe null.
    Blob,
    /// A struct in place.
    One(&'static Shape),
    /// A struct after a byte that says whether it is there.
    Maybe(&'static Shape),
    /// An array, maybe null, of structs.
    Each(&'static Shape),
    /// An array of things without tagged fields.
    List(&'static Kind),
}

/// Whether strings, arrays and structs are written in the compact form with tagged fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Classic,
    Flexible,
}

struct Scan<'a> {
    rest: &'a [u8],
    version: i16,
    form: Form,
    elements: usize,
}

/// What is left of a frame after its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walked<'a> {
    /// The bytes after the request.
    pub(super) rest: &'a [u8],
    /// Array elements and tagged fields in the request.
    pub(super) elements: usize,
}

/// Walks header and body of a request in a version that is served.
pub(super) fn walk(frame: &[u8], api: ApiKey, version: i16) -> Result<Walked<'_>, Misshapen> {
    let form = if api.request_header_version(version) >= 2 {
        Form::Flexible
    } else {
        Form::Classic
    };
    let mut scan = Scan {
        rest: frame,
        version,
        form: Form::Classic,
        elements: 0,
    };
    scan.skip(FIXED_HEADER)?;
    // The client id keeps the classic form in every header version.
    scan.value(&Kind::Text)?;
    scan.form = form;
    scan.tags(&[])?;
    scan.shape(requests::shape(api))?;
    Ok(Walked {
        rest: scan.rest,
        elements: scan.elements,
    })
}

impl Scan<'_> {
    fn shape(&mut self, shape: &Shape) -> Result<(), Misshapen> {
        for field in shape.fields {
            if (field.from..=field.to).contains(&self.version) {
                self.value(&field.kind)?;
            }
        }
        self.tags(shape.tags)
    }

    fn value(&mut self, kind: &Kind) -> Result<(), Misshapen> {
        match kind {
            Kind::Fixed(len) => self.skip(*len),
            Kind::Text => {
                let len = match self.form {
                    Form::Classic => Self::signed(i64::from(i16::from_be_bytes(self.take()?))),
                    Form::Flexible => self.compact(),
                }?;
                self.skip(len)
            }
            Kind::Blob => {
                let len = self.count()?;
                self.skip(len)
            }
            Kind::One(shape) => self.shape(shape),
            Kind::Maybe(shape) => {
                // As the codec: 1 and nothing else says that it is there.
                let [there] = self.take()?;
                if there == 1 {
                    self.shape(shape)
                } else {
                    Ok(())
                }
            }
            Kind::Each(shape) => {
                for _ in 0..self.count()? {
                    self.element()?;
                    self.shape(shape)?;
                }
                Ok(())
            }
            Kind::List(kind) => {
                for _ in 0..self.count()? {
                    self.element()?;
                    self.value(kind)?;
                }
                Ok(())
            }
        }
    }

    fn tags(&mut self, known: &[(u32, Kind)]) -> Result<(), Misshapen> {
        if self.form == Form::Classic {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.element()?;
            let tag = self.varint()?;
            let len = self.varint()?;
            // The codec reads a tag that it knows by its type and passes over the length.
            match known.iter().find(|(number, _)| *number == tag) {
                Some((_, kind)) => self.value(kind)?,
                None => self.skip(usize::try_from(len).map_err(|_| Misshapen::Short)?)?,
            }
        }
        Ok(())
    }

    fn element(&mut self) -> Result<(), Misshapen> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(Misshapen::TooManyElements);
        }
        Ok(())
    }

    fn count(&mut self) -> Result<usize, Misshapen> {
        match self.form {
            Form::Classic => {
                let count = i64::from(i32::from_be_bytes(self.take()?));
                Self::signed(count)
            }
            Form::Flexible => self.compact(),
        }
    }

    /// A length where -1 stands for null.
    fn signed(len: i64) -> Result<usize, Misshapen> {
        match len {
            -1 => Ok(0),
            len => usize::try_from(len).map_err(|_| Misshapen::NegativeLength),
        }
    }

    /// A length plus one, 0 standing for null.
    fn compact(&mut self) -> Result<usize, Misshapen> {
        let len = self.varint()?.saturating_sub(1);
        usize::try_from(len).map_err(|_| Misshapen::Short)
    }

    /// As the codec: at most five bytes, what does not fit falls off.
    fn varint(&mut self) -> Result<u32, Misshapen> {
        let mut value = 0u32;
        for index in 0..5 {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << (index * 7);
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Misshapen> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Misshapen::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn skip(&mut self, len: usize) -> Result<(), Misshapen> {
        self.rest = self.rest.get(len..).ok_or(Misshapen::Short)?;
        Ok(())
    }
}
