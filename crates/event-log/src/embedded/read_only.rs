//! A disk that is only looked at: changes are left undone, and what a start would cut off is noted.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::segment::is_catalog;
use super::storage::{DiskFile, Storage, StoredFile};

/// Hears how many bytes of which file have been read.
pub(super) type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// The disk, as it is.
pub(super) struct ReadOnly {
    catalogs: Catalogs,
    progress: Progress,
    pub(super) cuts: Arc<Mutex<Vec<Cut>>>,
}

/// Whether a reader is shown the catalogs of sealed segments; without them every segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Catalogs {
    Shown,
    Hidden,
}

/// A torn tail that a start would cut off.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) file: String,
    pub(super) position: u64,
}

struct ReadOnlyFile {
    name: String,
    /// `None` where there is no such file.
    file: Option<DiskFile>,
    progress: Progress,
    cuts: Arc<Mutex<Vec<Cut>>>,
}

impl ReadOnly {
    pub(super) fn new(catalogs: Catalogs, progress: Progress) -> Self {
        Self {
            catalogs,
            progress,
            cuts: Arc::default(),
        }
    }
}

impl std::fmt::Debug for ReadOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReadOnly").field(&self.catalogs).finish()
    }
}

impl std::fmt::Debug for ReadOnlyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReadOnlyFile").field(&self.name).finish()
    }
}

impl Storage for ReadOnly {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let names: io::Result<Vec<Option<String>>> = names.collect();
        let mut names: Vec<String> = names?.into_iter().flatten().collect();
        names.retain(|name| self.catalogs == Catalogs::Shown || !is_catalog(name));
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let file = match File::open(path) {
            Ok(file) => Some(DiskFile::of(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let parts: Vec<_> = path.iter().rev().take(2).collect();
        let parts = parts.iter().rev().map(|part| part.to_string_lossy());
        Ok(Arc::new(ReadOnlyFile {
            name: parts.collect::<Vec<_>>().join("/"),
            file,
            progress: Arc::clone(&self.progress),
            cuts: Arc::clone(&self.cuts),
        }))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl StoredFile for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.as_ref().map_or(Ok(0), StoredFile::len)
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        let bytes = file.read_all()?;
        (self.progress)(bytes.len() as u64);
        Ok(bytes)
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_at(into, position),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.cuts.lock().push(Cut {
            file: self.name.clone(),
            position: len,
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
