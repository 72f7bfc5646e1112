//! Where content goes while it is counted and hashed.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};

use crate::{Digest, Error};

/// Bytes that are gathered before the disk is written to.
const BUFFER: usize = 1 << 20;

/// Takes what a digest names, and no more of it than was announced.
#[derive(Debug)]
pub struct Sink {
    expected: Digest,
    size: u64,
    taken: u64,
    hash: Sha256,
    to: To,
}

#[derive(Debug)]
enum To {
    Memory(Vec<u8>),
    File(BufWriter<File>, PathBuf),
}

impl Sink {
    pub(crate) fn memory(expected: Digest, size: u64) -> Self {
        Self::new(expected, size, To::Memory(Vec::new()))
    }

    /// Into a file, which is made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn file(expected: Digest, size: u64, path: &Path) -> Result<Self, Error> {
        let file = File::create_new(path).await;
        let file = file.map_err(|source| Error::io(path, source))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(Self::new(expected, size, To::File(file, path.to_owned())))
    }

    fn new(expected: Digest, size: u64, to: To) -> Self {
        Self {
            expected,
            size,
            taken: 0,
            hash: Sha256::new(),
            to,
        }
    }

    /// What is expected.
    pub(crate) const fn digest(&self) -> &Digest {
        &self.expected
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] when they are too many, [`Error::Io`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.taken += bytes.len() as u64;
        if self.taken > self.size {
            return Err(self.refused());
        }
        self.hash.update(bytes);
        match &mut self.to {
            To::Memory(memory) => memory.extend_from_slice(bytes),
            To::File(file, path) => {
                let written = file.write_all(bytes).await;
                written.map_err(|source| Error::io(path.as_path(), source))?;
            }
        }
        Ok(())
    }

    /// Checks what has come. It is returned if it was kept in memory.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not what was expected, [`Error::Io`].
    pub async fn finish(mut self) -> Result<Vec<u8>, Error> {
        let digest = Digest::from_hash(std::mem::take(&mut self.hash));
        if self.taken != self.size || digest != self.expected {
            return Err(self.refused());
        }
        match self.to {
            To::Memory(memory) => Ok(memory),
            To::File(mut file, path) => {
                let flushed = file.flush().await;
                flushed.map_err(|source| Error::io(path, source))?;
                Ok(Vec::new())
            }
        }
    }

    fn refused(&self) -> Error {
        Error::invalid(
            format!("the content {}", self.expected),
            format!("what came is not the {} bytes of that digest", self.size),
        )
    }
}
