//! The messages of PostgreSQL's `pgoutput` plugin, protocol version 2: bytes in, messages out.
//!
//! Pure. Values stay the text that PostgreSQL wrote; what they mean is decided with the relation at
//! hand. The format is that of PostgreSQL's manual, "Logical Replication Message Formats".

use bytes::{Buf as _, Bytes};

use super::Lsn;
use crate::table::{Cell, Tuple};

/// Where a message was found: within a streamed block every change names its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// In a transaction that is sent whole, or between transactions.
    Plain,
    /// Between the start and the stop of a block of a transaction in progress.
    Stream,
}

/// A message and, within a streamed block, the (sub)transaction that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) xid: Option<u32>,
    pub(crate) message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Begin {
        commit: Lsn,
        committed_at: Micros,
        xid: u32,
    },
    Commit(Commit),
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple,
    },
    Update {
        relation: u32,
        old: Option<Old>,
        new: Tuple,
    },
    Delete {
        relation: u32,
        old: Old,
    },
    Truncate {
        relations: Vec<u32>,
    },
    StreamStart {
        xid: u32,
    },
    StreamStop,
    StreamCommit {
        xid: u32,
        commit: Commit,
    },
    StreamAbort {
        xid: u32,
        subtransaction: u32,
    },
    /// A message that carries no change: an origin, a type's name, a message to readers of the log.
    Other,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Where its commit record begins.
    pub(crate) at: Lsn,
    /// Where its commit record ends.
    pub(crate) end: Lsn,
    pub(crate) committed_at: Micros,
}

/// Microseconds since the beginning of the year 2000, UTC: PostgreSQL's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Micros(pub(crate) i64);

/// A table as the following changes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) columns: Vec<Column>,
}

/// What a table's changes say of the row before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Its primary key.
    Default,
    /// Nothing.
    Nothing,
    /// All of it.
    Full,
    /// The columns of a unique index.
    Index,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) modifier: i32,
    /// Whether it is part of what identifies a row.
    pub(crate) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Key,
    Plain,
}

/// The row before a change, as far as it was written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// Only what identifies it; the other columns are null.
    Key(Tuple),
    /// All of it.
    Row(Tuple),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("message {tag:?} ends too early")]
    Truncated { tag: char },
    #[error("message {tag:?} has {bytes} bytes too many")]
    Trailing { tag: char, bytes: usize },
    #[error("message {tag:?} has an unknown {field}")]
    Unknown { tag: char, field: &'static str },
    #[error("an empty message")]
    Empty,
}

/// Reads one message.
pub(crate) fn decode(mut bytes: Bytes, within: Within) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let tag = bytes.get_u8();
    let mut fields = Fields {
        tag: char::from(tag),
        bytes,
    };
    let belongs = matches!(tag, b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M');
    let xid = match within {
        Within::Stream if belongs => Some(fields.u32()?),
        Within::Stream | Within::Plain => None,
    };
    let message = fields.message(tag)?;
    match fields.bytes.len() {
        0 => Ok(Decoded { xid, message }),
        bytes => Err(DecodeError::Trailing {
            tag: fields.tag,
            bytes,
        }),
    }
}

struct Fields {
    tag: char,
    bytes: Bytes,
}

impl Fields {
    fn message(&mut self, tag: u8) -> Result<Message, DecodeError> {
        Ok(match tag {
            b'B' => Message::Begin {
                commit: self.lsn()?,
                committed_at: self.micros()?,
                xid: self.u32()?,
            },
            b'C' => Message::Commit(self.commit()?),
            b'R' => Message::Relation(self.relation()?),
            b'I' => Message::Insert {
                relation: self.u32()?,
                new: self.new_tuple()?,
            },
            b'U' => Message::Update {
                relation: self.u32()?,
                old: self.old_tuple_if_any()?,
                new: self.new_tuple()?,
            },
            b'D' => Message::Delete {
                relation: self.u32()?,
                old: self
                    .old_tuple_if_any()?
                    .ok_or_else(|| self.unknown("tuple"))?,
            },
            b'T' => {
                let count = self.u32()?;
                self.u8()?;
                let relations = (0..count).map(|_| self.u32()).collect::<Result<_, _>>()?;
                Message::Truncate { relations }
            }
            b'S' => {
                let xid = self.u32()?;
                self.u8()?;
                Message::StreamStart { xid }
            }
            b'E' => Message::StreamStop,
            b'c' => Message::StreamCommit {
                xid: self.u32()?,
                commit: self.commit()?,
            },
            b'A' => Message::StreamAbort {
                xid: self.u32()?,
                subtransaction: self.u32()?,
            },
            b'O' | b'Y' | b'M' => {
                self.bytes.clear();
                Message::Other
            }
            _ => return Err(self.unknown("tag")),
        })
    }

    fn commit(&mut self) -> Result<Commit, DecodeError> {
        self.u8()?;
        Ok(Commit {
            at: self.lsn()?,
            end: self.lsn()?,
            committed_at: self.micros()?,
        })
    }

    fn relation(&mut self) -> Result<Relation, DecodeError> {
        let oid = self.u32()?;
        let schema = self.text()?;
        let name = self.text()?;
        let identity = match self.u8()? {
            b'd' => Identity::Default,
            b'n' => Identity::Nothing,
            b'f' => Identity::Full,
            b'i' => Identity::Index,
            _ => return Err(self.unknown("replica identity")),
        };
        let count = self.u16()?;
        let columns = (0..count)
            .map(|_| self.column())
            .collect::<Result<_, _>>()?;
        // The catalog's own schema is sent as an empty name.
        let schema = Some(schema).filter(|schema| !schema.is_empty());
        Ok(Relation {
            oid,
            schema: schema.unwrap_or_else(|| "pg_catalog".to_owned()),
            name,
            identity,
            columns,
        })
    }

    fn column(&mut self) -> Result<Column, DecodeError> {
        let role = match self.u8()? & 1 {
            1 => Role::Key,
            _ => Role::Plain,
        };
        Ok(Column {
            name: self.text()?,
            type_oid: self.u32()?,
            modifier: self.u32()?.cast_signed(),
            role,
        })
    }

    fn old_tuple_if_any(&mut self) -> Result<Option<Old>, DecodeError> {
        match self.bytes.first() {
            Some(b'K') => {
                self.u8()?;
                Ok(Some(Old::Key(self.tuple()?)))
            }
            Some(b'O') => {
                self.u8()?;
                Ok(Some(Old::Row(self.tuple()?)))
            }
            Some(_) => Ok(None),
            None => Err(self.truncated()),
        }
    }

    fn new_tuple(&mut self) -> Result<Tuple, DecodeError> {
        match self.u8()? {
            b'N' => self.tuple(),
            _ => Err(self.unknown("tuple")),
        }
    }

    fn tuple(&mut self) -> Result<Tuple, DecodeError> {
        let count = self.u16()?;
        (0..count).map(|_| self.cell()).collect()
    }

    fn cell(&mut self) -> Result<Cell, DecodeError> {
        match self.u8()? {
            b'n' => Ok(Cell::Null),
            b'u' => Ok(Cell::Unchanged),
            b't' => {
                let len = self.u32()? as usize;
                self.has(len)?;
                Ok(Cell::Text(self.bytes.split_to(len)))
            }
            _ => Err(self.unknown("kind of value")),
        }
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        let text = self.bytes.split_to(end.ok_or_else(|| self.truncated())?);
        self.bytes.advance(1);
        String::from_utf8(text.into()).map_err(|_| self.unknown("encoding of a name"))
    }

    fn lsn(&mut self) -> Result<Lsn, DecodeError> {
        self.has(8)?;
        Ok(Lsn::new(self.bytes.get_u64()))
    }

    fn micros(&mut self) -> Result<Micros, DecodeError> {
        self.has(8)?;
        Ok(Micros(self.bytes.get_i64()))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.has(4)?;
        Ok(self.bytes.get_u32())
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.has(2)?;
        Ok(self.bytes.get_u16())
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.has(1)?;
        Ok(self.bytes.get_u8())
    }

    fn has(&self, bytes: usize) -> Result<(), DecodeError> {
        (self.bytes.len() >= bytes)
            .then_some(())
            .ok_or_else(|| self.truncated())
    }

    const fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { tag: self.tag }
    }

    const fn unknown(&self, field: &'static str) -> DecodeError {
        DecodeError::Unknown {
            tag: self.tag,
            field,
        }
    }
}

#[cfg(test)]
mod tests;
