//! File systems for the `/tmp` of sandboxes, on this machine's disk.
//!
//! Each is an image: a sparse file with a name nobody knows, which is gone when the sandbox is. One of
//! each size is made once and copied from then on, which takes its used blocks only.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, SeekFrom};

/// Bytes of disk for each file that may be made: the kernel's own tools take 16 KiB, and a function that
/// unpacks an archive of small files has more.
const BYTES_PER_FILE: u64 = 8 * 1024;

/// Makes images.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    tool: PathBuf,
    /// Held while a first one of its size is made.
    making: Mutex<()>,
}

impl Disk {
    /// What makes file systems. Fails in words for the user where this machine has not what it takes to
    /// use one.
    pub(crate) fn tool() -> Result<PathBuf, String> {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .map_err(|error| format!("there are no loop devices here ({error})"))?;
        ["/usr/sbin/mke2fs", "/sbin/mke2fs"]
            .into_iter()
            .map(PathBuf::from)
            .find(|tool| tool.exists())
            .ok_or_else(|| "mke2fs is not installed".to_owned())
    }

    /// Over a folder of its own, which it empties. Fails in words for the user.
    pub(crate) fn over(folder: PathBuf, tool: PathBuf) -> Result<Self, String> {
        let empty = || match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) | Ok(()) => fs::create_dir_all(&folder),
        };
        empty().map_err(|error| format!("could not make {}: {error}", folder.display()))?;
        Ok(Self {
            folder,
            tool,
            making: Mutex::new(()),
        })
    }

    /// A file system of this many bytes, empty. Blocks: for tens of milliseconds the first time that a
    /// size is asked for, then for one.
    pub(crate) fn image(&self, bytes: u64) -> io::Result<OwnedFd> {
        let first = self.first(bytes)?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let owner = Mode::RUSR | Mode::WUSR;
        let image = File::from(rustix::fs::open(&self.folder, flags, owner)?);
        copy(&File::open(first)?, &image, bytes)?;
        Ok(image.into())
    }

    fn first(&self, bytes: u64) -> io::Result<PathBuf> {
        let path = self.folder.join(format!("{bytes}.ext4"));
        let _making = self.making.lock();
        if !path.exists() {
            let unfinished = path.with_extension("unfinished");
            File::create(&unfinished)?.set_len(bytes)?;
            self.format(&unfinished)?;
            fs::rename(unfinished, &path)?;
        }
        Ok(path)
    }

    /// Without a journal and without anything for root alone: nobody reads it after a crash.
    fn format(&self, path: &Path) -> io::Result<()> {
        let formatted = Command::new(&self.tool)
            .args(["-q", "-F", "-t", "ext4", "-m", "0"])
            .args(["-O", "^has_journal,^resize_inode"])
            .args(["-E", "lazy_itable_init=1,nodiscard"])
            .args(["-i", &BYTES_PER_FILE.to_string()])
            .arg(path)
            .env_clear()
            .stdin(Stdio::null())
            .output()?;
        if formatted.status.success() {
            Ok(())
        } else {
            let said = String::from_utf8_lossy(&formatted.stderr);
            Err(io::Error::other(format!("mke2fs: {}", said.trim())))
        }
    }
}

/// Copies what is not a hole.
fn copy(from: &File, to: &File, bytes: u64) -> io::Result<()> {
    to.set_len(bytes)?;
    let mut at = 0;
    loop {
        at = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(at) => at,
            // Only a hole is left.
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(at))?;
        let mut source = at;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let copied =
                rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut at), left)?;
            if copied == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let size = 64 << 20;
        from.set_len(size).unwrap();
        for place in [0, 5 << 20, size - 4] {
            from.write_all_at(b"data", place).unwrap();
        }
        copy(&from, &to, size).unwrap();
        assert_eq!(to.metadata().unwrap().len(), size);
        for place in [0, 5 << 20, size - 4] {
            let mut found = [0; 4];
            to.read_exact_at(&mut found, place).unwrap();
            assert_eq!(&found, b"data");
        }
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
