//! A folder that is unpacked into, and what lies around it, which nobody may touch.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The byte of a name that stands for the path of all this, so that names can be meant for it.
const HERE: u8 = 1;

/// The folder with its surroundings.
pub(crate) struct Yard {
    folder: TempDir,
    around: BTreeMap<PathBuf, Trace>,
}

/// What shows whether something was touched: when it last changed, its place, rights and links, and what
/// is in it.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    changed: (i64, i64),
    place: (u64, u64),
    mode: u32,
    links: u64,
    content: Vec<u8>,
}

/// What has been unpacked.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Bytes of all files.
    pub(crate) bytes: u64,
    /// Files, links and folders, but for the one that all is in.
    pub(crate) entries: u64,
}

/// Whether a file may have several names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HardLinks {
    Kept,
    None,
}

impl Yard {
    pub(crate) fn new() -> Self {
        let folder = in_memory();
        let above = folder.path().join("above");
        fs::create_dir_all(above.join("inside")).expect("the folder to unpack into");
        fs::create_dir(folder.path().join("neighbours")).expect("a folder around it");
        for file in ["above/file", "neighbours/file", "file"] {
            fs::write(folder.path().join(file), file).expect("a file around it");
        }
        let mut yard = Self {
            folder,
            around: BTreeMap::new(),
        };
        yard.around = yard.seen_around();
        yard
    }

    /// Where to unpack: an empty folder.
    pub(crate) fn inside(&self) -> PathBuf {
        self.folder.path().join("above/inside")
    }

    /// A name as it was planned, but about this place.
    pub(crate) fn meant(&self, name: &[u8]) -> Vec<u8> {
        let here = self.folder.path().as_os_str().as_bytes();
        name.iter()
            .flat_map(|byte| match *byte {
                HERE => here,
                _ => std::slice::from_ref(byte),
            })
            .copied()
            .collect()
    }

    /// Panics if anything around has changed, or if what is inside is more than files, folders and, in
    /// the end, links that lead nowhere but inside.
    pub(crate) fn check(&self, hard_links: HardLinks) -> Found {
        let inside = self.inside();
        let mut found = Found::default();
        let mut folders = vec![inside.clone()];
        let mut names: BTreeMap<u64, u64> = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for path in children(&folder) {
                let metadata = fs::symlink_metadata(&path).expect("what is listed is there");
                found.entries += 1;
                let mode = metadata.permissions().mode() & 0o7777;
                if metadata.is_dir() {
                    assert_eq!(mode, 0o755, "the rights of the folder {path:?}");
                    folders.push(path);
                } else if metadata.is_file() {
                    assert!(matches!(mode, 0o644 | 0o755), "{mode:o} of {path:?}");
                    let known = names.entry(metadata.ino()).or_default();
                    *known += 1;
                    if *known == 1 {
                        found.bytes += metadata.len();
                    }
                    if hard_links == HardLinks::None {
                        assert_eq!(metadata.nlink(), 1, "names of {path:?}");
                    }
                    // No name of it is elsewhere: all that it has are found in here.
                    if *known == metadata.nlink() {
                        names.remove(&metadata.ino());
                    }
                } else {
                    assert!(metadata.is_symlink(), "{path:?} is {metadata:?}");
                }
            }
        }
        assert!(names.is_empty(), "files have names outside: {names:?}");
        assert_eq!(self.seen_around(), self.around, "what is around");
        found
    }

    /// Panics if a link leads elsewhere than to something inside.
    pub(crate) fn links_stay_inside(&self) {
        let root = fs::canonicalize(self.inside()).expect("the folder is there");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for path in children(&folder) {
                let metadata = fs::symlink_metadata(&path).expect("what is listed is there");
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_symlink() {
                    let end = fs::canonicalize(&path);
                    let end = end.unwrap_or_else(|error| panic!("{path:?}: {error}"));
                    assert!(end.starts_with(&root), "{path:?} leads to {end:?}");
                }
            }
        }
    }

    /// Removes what was unpacked as whoever unpacks does, after which nothing of it may be left.
    pub(crate) fn clear(&self) {
        fs::remove_dir_all(self.inside()).expect("remove what was unpacked");
        assert_eq!(self.seen_around(), self.around, "what is around");
        fs::create_dir(self.inside()).expect("the folder to unpack into");
    }

    fn seen_around(&self) -> BTreeMap<PathBuf, Trace> {
        let inside = self.inside();
        let above = inside.parent().expect("a folder around it");
        let mut seen = BTreeMap::new();
        let mut rest = vec![self.folder.path().to_owned()];
        while let Some(path) = rest.pop() {
            if path == inside {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).expect("what is listed is there");
            let content = if metadata.is_dir() {
                rest.extend(children(&path));
                Vec::new()
            } else {
                fs::read(&path).expect("a file around it")
            };
            let mut trace = Trace::of(&metadata, content);
            if path == above {
                // The folder in it comes and goes, which changes this one.
                (trace.changed, trace.links) = ((0, 0), 0);
            }
            seen.insert(path, trace);
        }
        seen
    }
}

/// A temporary folder, in memory where there is such a place: nothing in it is to last.
pub(crate) fn in_memory() -> TempDir {
    let shared = Path::new("/dev/shm");
    let folder = match shared.is_dir() {
        true => tempfile::tempdir_in(shared),
        false => tempfile::tempdir(),
    };
    folder.expect("a temporary folder")
}

impl Trace {
    fn of(metadata: &Metadata, content: Vec<u8>) -> Self {
        Self {
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            place: (metadata.dev(), metadata.ino()),
            mode: metadata.mode(),
            links: metadata.nlink(),
            content,
        }
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    list().unwrap_or_else(|error| panic!("list {folder:?}: {error}"))
}
