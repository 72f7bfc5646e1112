//! The packets of the log, by what is needed of them.
//!
//! Numbers are little-endian. What MySQL and MariaDB have in common comes first, MariaDB's own types
//! from 160 on.

use super::logged::{FileName, LogPlace};

/// A packet of the log.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) kind: u8,
    /// Seconds since the epoch.
    pub(super) time: u32,
    /// The server that wrote it.
    pub(super) server: u32,
    /// Where the next one begins in its file; 0 for what is not in the file.
    pub(super) end: u32,
    pub(super) size: u32,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Query,
    Rotate,
    Format,
    Xid,
    TableMap,
    Rows(Rows),
    Incident,
    Heartbeat,
    /// A transaction begins, under a global id.
    Gtid,
    /// The same in MariaDB, where it takes the place of `BEGIN`.
    MariaGtid,
    Prepare,
    /// Packed packets, which follow unpacked.
    Payload,
    /// Something that does not matter.
    Other,
    /// Something that does, and that we cannot read.
    Foreign,
}

/// A packet with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) change: RowChange,
    pub(super) layout: RowLayout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowChange {
    Write,
    Update,
    Delete,
}

/// The second has room for extra information before the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowLayout {
    First,
    Second,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of the log ends too early")]
pub(super) struct TooShort;

/// Says that a reader may leave the packet out.
const IGNORABLE: u16 = 0x80;
/// Says that the packet is in no file.
const ARTIFICIAL: u16 = 0x20;

impl Packet {
    /// What it is.
    pub(super) const fn what(&self) -> Type {
        use RowChange::{Delete, Update, Write};
        use RowLayout::{First, Second};
        const fn rows(change: RowChange, layout: RowLayout) -> Type {
            Type::Rows(Rows { change, layout })
        }
        match self.kind {
            2 => Type::Query,
            4 => Type::Rotate,
            15 => Type::Format,
            16 => Type::Xid,
            19 => Type::TableMap,
            23 => rows(Write, First),
            24 => rows(Update, First),
            25 => rows(Delete, First),
            30 => rows(Write, Second),
            31 => rows(Update, Second),
            32 => rows(Delete, Second),
            26 => Type::Incident,
            27 | 41 => Type::Heartbeat,
            33 | 34 | 42 => Type::Gtid,
            162 => Type::MariaGtid,
            38 => Type::Prepare,
            40 => Type::Payload,
            // Beginnings and ends of files, what belongs to statements, comments, lists of ids.
            1 | 3 | 5 | 13 | 14 | 28 | 29 | 35 | 36 | 37 | 160 | 161 | 163 | 164 => Type::Other,
            // Foreign and open-ended: rows in formats of old, parts of documents, compressed ones.
            _ if self.flags & IGNORABLE != 0 => Type::Other,
            _ => Type::Foreign,
        }
    }

    /// Whether it is part of a file.
    pub(super) const fn is_in_file(&self) -> bool {
        self.flags & ARTIFICIAL == 0 && self.end != 0
    }

    /// The file that a rotation leads to, and the place there.
    pub(super) fn rotation(&self) -> Option<(FileName, LogPlace)> {
        let (byte, name) = self.body.split_first_chunk::<8>()?;
        let name = FileName::parse(std::str::from_utf8(name).ok()?)?;
        let place = LogPlace {
            file: name.number,
            byte: u32::try_from(u64::from_le_bytes(*byte)).ok()?,
        };
        Some((name, place))
    }

    /// The database that a statement ran in, and its text.
    pub(super) fn statement(&self) -> Result<(String, String), TooShort> {
        let mut parts = Parts(&self.body);
        parts.take(8)?;
        let database = usize::from(parts.u8()?);
        parts.take(2)?;
        let variables = usize::from(parts.u16()?);
        parts.take(variables)?;
        let database = parts.take(database)?;
        parts.take(1)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(database), text(parts.0)))
    }

    /// The name of a prepared transaction, as statements write it; `None` when it is committed at once.
    pub(super) fn prepared(&self) -> Result<Option<String>, TooShort> {
        let mut parts = Parts(&self.body);
        if parts.u8()? != 0 {
            return Ok(None);
        }
        let format = parts.u32()?;
        let (global, branch) = (parts.u32()? as usize, parts.u32()? as usize);
        let (global, branch) = (hex(parts.take(global)?), hex(parts.take(branch)?));
        Ok(Some(format!("X'{global}',X'{branch}',{format}")))
    }
}

/// Bytes as two digits each.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to text cannot fail");
        text
    })
}

/// What is left of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], TooShort> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(TooShort)?;
        self.0 = left;
        Ok(taken)
    }

    /// A number of up to eight bytes.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, TooShort> {
        let mut wide = [0; 8];
        wide.get_mut(..bytes)
            .ok_or(TooShort)?
            .copy_from_slice(self.take(bytes)?);
        Ok(u64::from_le_bytes(wide))
    }

    pub(super) fn u8(&mut self) -> Result<u8, TooShort> {
        self.take(1).map(|taken| taken[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, TooShort> {
        let taken = self.take(2)?;
        Ok(u16::from_le_bytes([taken[0], taken[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, TooShort> {
        let taken = self.take(4)?;
        Ok(u32::from_le_bytes([taken[0], taken[1], taken[2], taken[3]]))
    }

    /// A number that says by its first byte how long it is.
    pub(super) fn counted(&mut self) -> Result<usize, TooShort> {
        let number = match self.u8()? {
            0xFC => self.number(2)?,
            0xFD => self.number(3)?,
            0xFE => self.number(8)?,
            small => u64::from(small),
        };
        usize::try_from(number).map_err(|_| TooShort)
    }

    /// Bytes with their count before them.
    pub(super) fn counted_bytes(&mut self) -> Result<&'a [u8], TooShort> {
        let count = self.counted()?;
        self.take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, body: &[u8]) -> Packet {
        Packet {
            kind,
            time: 0,
            server: 1,
            end: 100,
            size: 50,
            flags: 0,
            body: body.to_vec(),
        }
    }

    #[test]
    fn a_prepared_transaction_is_named_as_its_commit_names_it() {
        let mut body = vec![0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0];
        body.extend_from_slice(b"ab\xff");
        let named = packet(38, &body).prepared().unwrap();
        assert_eq!(named.unwrap(), "X'6162',X'ff',1");
        assert_eq!(packet(38, &[1]).prepared(), Ok(None));
        assert_eq!(packet(38, &[0, 1]).prepared(), Err(TooShort));
    }

    #[test]
    fn what_is_unknown_is_left_out_only_where_its_writer_allows_that() {
        let mut unknown = packet(200, &[]);
        assert_eq!(unknown.what(), Type::Foreign);
        unknown.flags = IGNORABLE;
        assert_eq!(unknown.what(), Type::Other);
        assert_eq!(packet(166, &[]).what(), Type::Foreign, "compressed rows");
    }
}
