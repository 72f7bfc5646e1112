//! Named points around every change to the disk, for tests that end the process there.
//!
//! Only what was handed to the operating system survives a process, so two moments with the same
//! calls behind them leave the same files: the points before, within and after each changing call
//! are all there is to tell apart. They lie on the [`Storage`] seam and thus cover whatever the log
//! comes to write there.
//!
//! A point is named `<folder>/<kind of file>.<change>.<moment>`, for example `events/seg.write.half`
//! or `events/folder.sync.before`: the kind is the file's name without its digits and without the
//! ending of a file that is still being made.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use clock::SharedClock;

use super::storage::{Disk, Storage, StoredFile};
use super::{EmbeddedConfig, EmbeddedLog};
use crate::Error;

/// Hears of each point as it is reached, on the thread that reaches it. It need not return.
pub trait CrashPoints: Debug + Send + Sync {
    /// The point named `point` has been reached.
    fn reached(&self, point: &str);
}

impl EmbeddedLog {
    /// Like [`open`](Self::open), and tells `points` of every change to the disk.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open_with_crash_points(
        config: EmbeddedConfig,
        clock: SharedClock,
        points: Arc<dyn CrashPoints>,
    ) -> Result<Arc<Self>, Error> {
        Self::open_on(Arc::new(Pointed(points)), config, clock)
    }
}

/// The disk, with its points.
#[derive(Debug)]
struct Pointed(Arc<dyn CrashPoints>);

#[derive(Debug)]
struct PointedFile {
    points: Arc<dyn CrashPoints>,
    name: String,
    file: Arc<dyn StoredFile>,
}

fn around<T>(
    points: &dyn CrashPoints,
    name: &str,
    change: &str,
    act: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    points.reached(&format!("{name}.{change}.before"));
    let done = act()?;
    points.reached(&format!("{name}.{change}.after"));
    Ok(done)
}

/// `events/seg` for `…/events/00000000000000000001.seg`.
fn name_of(path: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let folder = text(path.parent().and_then(Path::file_name));
    let kind = text(path.file_name()).replace(|c: char| c.is_ascii_digit(), "");
    let kind = kind.trim_start_matches('.').trim_end_matches(".new");
    format!("{folder}/{kind}")
}

impl Storage for Pointed {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let name = name_of(&dir.join("folder"));
        around(&*self.0, &name, "create", || Disk.create_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let name = name_of(&dir.join("folder"));
        around(&*self.0, &name, "sync", || Disk.sync_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Disk.list(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let name = name_of(path);
        let file = around(&*self.0, &name, "open", || Disk.open(path))?;
        Ok(Arc::new(PointedFile {
            points: Arc::clone(&self.0),
            name,
            file,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        around(&*self.0, &name_of(from), "rename", || Disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        around(&*self.0, &name_of(path), "remove", || Disk.remove(path))
    }
}

impl StoredFile for PointedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        self.file.read_all()
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_at(into, position)
    }

    fn read_cached(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_cached(into, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        around(&*self.points, &self.name, "write", || {
            let (front, back) = bytes.split_at(bytes.len() / 2);
            self.file.write_at(front, position)?;
            self.points.reached(&format!("{}.write.half", self.name));
            self.file.write_at(back, position + front.len() as u64)
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        around(&*self.points, &self.name, "allocate", || {
            self.file.allocate(len)
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        around(&*self.points, &self.name, "truncate", || {
            self.file.truncate(len)
        })
    }

    fn sync(&self) -> io::Result<()> {
        around(&*self.points, &self.name, "sync", || self.file.sync())
    }
}
