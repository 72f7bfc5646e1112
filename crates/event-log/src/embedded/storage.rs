//! The few file operations that the log needs, behind a seam that tests break on purpose.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};

/// Where segments lie.
pub(super) trait Storage: Debug + Send + Sync {
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names of the files in `dir`.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens for reading and writing; creates when absent.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// An open file.
pub(super) trait StoredFile: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// The file up to the last byte that was ever written, or further; the rest reads as zeros.
    fn read_all(&self) -> io::Result<Vec<u8>>;
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()>;
    /// As [`read_at`](Self::read_at), but fails with [`io::ErrorKind::WouldBlock`] rather than wait
    /// for the disk.
    fn read_cached(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.read_at(into, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes the file `len` bytes long with blocks set aside for all of them.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file, durably.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug)]
pub(super) struct Disk;

#[derive(Debug)]
pub(super) struct DiskFile(File);

impl DiskFile {
    pub(super) fn of(file: File) -> Self {
        Self(file)
    }
}

impl Storage for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let names: io::Result<Vec<Option<String>>> = names.collect();
        Ok(names?.into_iter().flatten().collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl StoredFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Skips holes: the unwritten rest of a preallocated segment costs nothing.
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let index = |position: u64| usize::try_from(position).map_err(io::Error::other);
        let len = self.len()?;
        let mut bytes = Vec::new();
        let mut position = 0;
        while position < len {
            let data = match rustix::fs::seek(&self.0, SeekFrom::Data(position)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break, // Nothing but hole up to the end.
                Err(other) => return Err(other.into()),
            };
            position = rustix::fs::seek(&self.0, SeekFrom::Hole(data))?.min(len);
            bytes.resize(index(position)?, 0);
            self.0.read_exact_at(&mut bytes[index(data)?..], data)?;
        }
        Ok(bytes)
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.0.read_exact_at(into, position)
    }

    fn read_cached(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let mut buffers = [IoSliceMut::new(into)];
        let read = rustix::io::preadv2(&self.0, &mut buffers, position, ReadWriteFlags::NOWAIT);
        match read {
            Ok(read) if read == into.len() => Ok(()),
            // A part is there: the rest is to come from the disk, or there is no more.
            Ok(_) => Err(io::ErrorKind::WouldBlock.into()),
            // A file system that cannot tell.
            Err(Errno::OPNOTSUPP) => Err(io::ErrorKind::WouldBlock.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // A file system without it: a full disk then shows at the write.
            Err(Errno::OPNOTSUPP) => self.0.set_len(len),
            Err(other) => Err(other.into()),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.0.sync_all()
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Whether an error means that there is no room, as opposed to a broken disk.
pub(super) fn is_full(error: &io::Error) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG];
    error
        .raw_os_error()
        .is_some_and(|code| full.iter().any(|errno| errno.raw_os_error() == code))
}
