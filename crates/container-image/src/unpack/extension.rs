//! What archives say of an entry ahead of it: names that do not fit into its header.
//!
//! They are read here rather than by the archive's reader, so that one of any claimed length cannot fill
//! the memory.

use std::io::{self, Read};

use tar::{EntryType, Header};

/// Bytes of such a block, at most.
const BYTES: u64 = 1024 * 1024;

/// What has been said of the next entry.
#[derive(Default)]
pub(super) struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// What an entry of the archive is.
pub(super) enum Meaning {
    /// Words about the next one, which have been taken in.
    Extension,
    /// An entry of its own, with its name and the name that it links to.
    Entry(Vec<u8>, Option<Vec<u8>>),
}

impl Extensions {
    pub(super) fn take(&mut self, header: &Header, content: &mut impl Read) -> io::Result<Meaning> {
        match header.entry_type() {
            EntryType::GNULongName => self.path = Some(text(content)?),
            EntryType::GNULongLink => self.link = Some(text(content)?),
            EntryType::XHeader => self.records(&block(content)?)?,
            // Words about all entries: times and comments.
            EntryType::XGlobalHeader => {}
            _ => {
                let said = std::mem::take(self);
                let path = said.path;
                let link = said.link;
                let link = link.or_else(|| header.link_name_bytes().map(Vec::from));
                return Ok(Meaning::Entry(
                    path.unwrap_or_else(|| header.path_bytes().into_owned()),
                    link,
                ));
            }
        }
        Ok(Meaning::Extension)
    }

    /// Records of the form `LENGTH KEYWORD=VALUE\n` (POSIX.1-2017, pax).
    fn records(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            let space = rest
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(broken)?;
            let length = std::str::from_utf8(&rest[..space]).ok();
            let length: usize = length
                .and_then(|text| text.parse().ok())
                .ok_or_else(broken)?;
            if length > rest.len() || length <= space + 1 {
                return Err(broken());
            }
            let (record, after) = rest.split_at(length);
            rest = after;
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(broken)?;
            let (keyword, value) = (&record[..equals], record[equals + 1..].to_vec());
            match keyword {
                b"path" => self.path = Some(value),
                b"linkpath" => self.link = Some(value),
                // The reader goes by the header's.
                b"size" => return Err(io::Error::other("it holds a file of 8 GiB or more")),
                _ if keyword.starts_with(b"GNU.sparse.") => {
                    return Err(io::Error::other("it holds a sparse file"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A text that ends where a zero byte is.
fn text(content: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = block(content)?;
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    Ok(text)
}

fn block(content: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES {
        return Err(io::Error::other("a name in it is too long"));
    }
    Ok(bytes)
}

fn broken() -> io::Error {
    io::Error::other("an extended header in it is malformed")
}
