//! From the layers of an image to the folder that instances have as their root.
//!
//! Layers are laid over one another as the image specification says: later ones prevail, and whiteouts
//! remove what is below. What is in the folder is for every user of this machine to read and for nobody
//! to write: a file's owner in the image is the sandbox's user, who is another in each, so that everybody
//! gets the owner's rights. Owners, set-user-id bits, times and extended attributes are not kept, and
//! devices and pipes are left out. Links are kept as they are written: they are followed inside only,
//! here as in the sandbox, so that no link leads out.

mod extension;
mod layer;
mod tree;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{Compression, Digest, Error};

use layer::Unpacking;
use tree::Tree;

/// Bytes of an archive that an entry may take beside its content: headers, long names, padding.
const ENTRY_OVERHEAD: u64 = 4 * 1024;

/// The largest window of a zstd stream, as a power of two: what its own tool accepts unasked.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Folders that a sandbox shows things of its own at.
const PLACES: [&str; 4] = ["dev", "etc", "proc", "tmp"];

/// Files that it shows.
const FILES: [&str; 2] = ["hosts", "resolv.conf"];

/// What an image may hold when it is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Bytes of all files of all layers.
    pub bytes: u64,
    /// Entries of all layers, and folders on their way that none of them names.
    pub entries: u64,
}

/// A layer that has been fetched.
#[derive(Clone, Debug)]
pub struct LayerFile {
    /// Where it is.
    pub path: PathBuf,
    /// How it is packed.
    pub compression: Compression,
    /// The digest of the archive inside.
    pub diff_id: Digest,
}

/// Unpacks `layers`, the lowest first, into the folder `into`, which must exist and be empty. In the end
/// the folders `dev`, `etc`, `proc` and `tmp` are there, and the files `etc/hosts` and
/// `etc/resolv.conf`, none of them a link. Everything is on the disk on return. Blocks. After an error
/// the folder holds a part of the image.
///
/// # Errors
/// [`Error::Invalid`] names the layer and the entry, [`Error::TooLarge`] the bound; [`Error::Io`].
pub fn unpack(layers: &[LayerFile], into: &Path, allowance: Allowance) -> Result<(), Error> {
    let tree = Tree::open(into, allowance.entries).map_err(|source| Error::io(into, source))?;
    let mut bytes_left = allowance.bytes;
    for layer in layers {
        let what = format!("the layer {}", layer.diff_id);
        let open = File::open(&layer.path);
        let file = BufReader::new(open.map_err(|source| Error::io(&layer.path, source))?);
        let broken = |error: io::Error| Error::invalid(&what, error.to_string());
        let archive: Box<dyn Read> = match layer.compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Compression::Zstd => {
                let decoder = zstd::Decoder::with_buffer(file);
                let mut decoder = decoder.map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
                Box::new(decoder)
            }
        };
        let mut archive = Hashed {
            archive,
            hash: Sha256::new(),
            // No archive of what is allowed is longer.
            left: bytes_left + allowance.entries.saturating_mul(ENTRY_OVERHEAD),
        };
        let mut unpacking = Unpacking::new(&tree, &what, allowance, bytes_left);
        unpacking.run(&mut archive)?;
        bytes_left = unpacking.bytes_left();
        // An archive may have padding, of which its digest knows.
        io::copy(&mut archive, &mut io::sink()).map_err(broken)?;
        let diff_id = Digest::from_hash(archive.hash);
        if diff_id != layer.diff_id {
            return Err(Error::invalid(what, format!("what is inside is {diff_id}")));
        }
    }
    let finished = tree
        .prepare(&PLACES, "etc", &FILES)
        .and_then(|()| tree.sync());
    finished.map_err(|source| Error::io(into, source))
}

/// An archive as it comes out, counted and hashed.
struct Hashed<R> {
    archive: R,
    hash: Sha256,
    left: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read(into)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("it is longer than an archive of what is allowed"))?;
        self.hash.update(&into[..read]);
        Ok(read)
    }
}
