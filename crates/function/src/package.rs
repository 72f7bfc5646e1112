//! Code packages: from an uploaded archive to a folder that instances run from.
//!
//! An archive is a stranger's file: every name, size and link in it is checked before it touches
//! the disk, and bytes are counted as they come out, whatever the archive claims.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::limits::{PACKAGE_ENTRIES, PACKAGE_PATH_BYTES, UNZIPPED_BYTES};

/// Bytes of each part of a path (Linux's `NAME_MAX`).
const NAME_BYTES: usize = 255;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Reject: it is not a zip archive, or a broken one.
    #[error("the archive is malformed: {reason}")]
    Malformed {
        /// What does not fit.
        reason: String,
    },
    /// Reject: an entry would not stay in its place.
    #[error("entry {name:?} is refused: {reason}")]
    Refused {
        /// The entry's name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// Reject: it holds more than a package may.
    #[error("the archive holds more than {limit} {unit}")]
    TooLarge {
        /// How many are allowed.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Retry later: the disk would not take it.
    #[error("unpack into {path}")]
    Io {
        /// The file that was written.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

/// What a package may hold.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, links and folders.
    pub entries: usize,
}

/// Unpacks `archive` into the folder `into`, which must exist and be empty. Blocks. Files that were
/// executable stay so; other rights, owners and times are not kept. After an error the folder holds
/// a part of the package.
///
/// # Errors
/// [`PackageError`] names the entry or the bound.
pub fn unpack(archive: &[u8], into: &Path) -> Result<(), PackageError> {
    unpack_within(
        archive,
        into,
        Allowance {
            bytes: UNZIPPED_BYTES,
            entries: PACKAGE_ENTRIES,
        },
    )
}

/// The same, within another allowance than that of functions.
///
/// # Errors
/// [`PackageError`] names the entry or the bound.
pub fn unpack_within(
    archive: &[u8],
    into: &Path,
    allowance: Allowance,
) -> Result<(), PackageError> {
    let claimed = claimed_entries(archive)?;
    check_claim(archive, allowance)?;
    let mut zip = ZipArchive::new(Cursor::new(archive)).map_err(malformed)?;
    if zip.len() > allowance.entries {
        return Err(PackageError::TooLarge {
            limit: allowance.entries as u64,
            unit: "files and folders",
        });
    }
    // The reader keeps the last of several entries of one name; the archive's own count shows it.
    if claimed.is_some_and(|claimed| claimed != zip.len()) {
        return Err(PackageError::Malformed {
            reason: "it lists a name twice, or not all of its entries".to_owned(),
        });
    }
    if zip.is_empty() {
        return Err(PackageError::Malformed {
            reason: "it is empty".to_owned(),
        });
    }
    make_readable(into)?;
    let mut folder = Folder {
        root: into,
        files: HashSet::new(),
        links: Vec::new(),
        bytes_left: allowance.bytes,
        entries_left: allowance.entries,
        allowance,
    };
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(malformed)?;
        folder.take(&mut entry)?;
    }
    folder.link()
}

/// Lets every user of this machine read a folder, whatever new ones are hidden by: functions run as
/// users of their own.
fn make_readable(folder: &Path) -> Result<(), PackageError> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))
        .map_err(|source| io_error(folder, source))
}

/// The folder as it fills.
struct Folder<'a> {
    root: &'a Path,
    files: HashSet<PathBuf>,
    links: Vec<(PathBuf, PathBuf)>,
    bytes_left: u64,
    entries_left: usize,
    allowance: Allowance,
}

impl Folder<'_> {
    fn take(
        &mut self,
        entry: &mut zip::read::ZipFile<'_, Cursor<&[u8]>>,
    ) -> Result<(), PackageError> {
        let name = entry.name().to_owned();
        let place = place(&name)?;
        if entry.is_dir() {
            return self.create_folder(&place);
        }
        if place.as_os_str().is_empty() || !self.files.insert(place.clone()) {
            return Err(refused(&name, "the archive lists it twice"));
        }
        if let Some(parent) = place.parent() {
            self.create_folder(parent)?;
        }
        self.count_entry()?;
        if is_symlink(entry.unix_mode()) {
            let mut target = Vec::new();
            // No more than shows that it is too long.
            let mut start = entry.take(PACKAGE_PATH_BYTES as u64 + 1);
            self.copy(&name, &mut start, &mut target)?;
            let target = link_target(&name, &place, target)?;
            self.links.push((place, target));
            return Ok(());
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let path = self.root.join(&place);
        let mut file = File::create_new(&path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => refused(&name, "a folder of that name exists"),
            _ => io_error(&path, source),
        })?;
        self.copy(&name, entry, &mut file)?;
        let mode = if executable { 0o755 } else { 0o644 };
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(|source| io_error(&path, source))
    }

    /// Copies an entry and counts what really comes out.
    fn copy(
        &mut self,
        name: &str,
        entry: &mut impl Read,
        to: &mut impl io::Write,
    ) -> Result<(), PackageError> {
        let copied = io::copy(&mut entry.take(self.bytes_left + 1), to).map_err(|source| {
            match source.kind() {
                io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof => PackageError::Malformed {
                    reason: format!("entry {name:?}: {source}"),
                },
                _ => io_error(&self.root.join(name), source),
            }
        })?;
        self.bytes_left = self
            .bytes_left
            .checked_sub(copied)
            .ok_or(PackageError::TooLarge {
                limit: self.allowance.bytes,
                unit: "bytes unzipped",
            })?;
        Ok(())
    }

    /// Makes a folder, and those on the way to it, which no entry of the archive need name.
    fn create_folder(&mut self, place: &Path) -> Result<(), PackageError> {
        let root = self.root;
        let is_missing = |part: &&Path| !root.join(part).is_dir();
        let missing: Vec<&Path> = place.ancestors().take_while(is_missing).collect();
        for part in missing.into_iter().rev() {
            self.count_entry()?;
            let path = self.root.join(part);
            fs::create_dir(&path).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => {
                    refused(&part.to_string_lossy(), "a file of that name exists")
                }
                _ => io_error(&path, source),
            })?;
            make_readable(&path)?;
        }
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), PackageError> {
        self.entries_left = self
            .entries_left
            .checked_sub(1)
            .ok_or(PackageError::TooLarge {
                limit: self.allowance.entries as u64,
                unit: "files and folders",
            })?;
        Ok(())
    }

    /// Makes the links last, so that no file is ever written through one, and checks where each
    /// really ends once all are there.
    fn link(&self) -> Result<(), PackageError> {
        for (place, target) in &self.links {
            let path = self.root.join(place);
            symlink(target, &path).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => {
                    refused(&place.to_string_lossy(), "a folder of that name exists")
                }
                _ => io_error(&path, source),
            })?;
        }
        let root = fs::canonicalize(self.root).map_err(|source| io_error(self.root, source))?;
        for (place, _) in &self.links {
            let end = fs::canonicalize(self.root.join(place));
            if !end.is_ok_and(|end| end.starts_with(&root)) {
                return Err(refused(
                    &place.to_string_lossy(),
                    "the link does not end inside the package",
                ));
            }
        }
        Ok(())
    }
}

/// Where an entry goes, relative to the package: plain components only.
fn place(name: &str) -> Result<PathBuf, PackageError> {
    if name.contains('\0') {
        return Err(refused(name, "its name holds a zero byte"));
    }
    if name.len() > PACKAGE_PATH_BYTES {
        return Err(refused(name, "its name is too long"));
    }
    let mut place = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) if part.len() > NAME_BYTES => {
                return Err(refused(name, "a part of its name is too long"));
            }
            Component::Normal(part) => place.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err(refused(name, "it leaves the package")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(refused(name, "its path is absolute"));
            }
        }
    }
    Ok(place)
}

/// A link's target, which may climb no higher than the package.
fn link_target(name: &str, place: &Path, target: Vec<u8>) -> Result<PathBuf, PackageError> {
    if target.is_empty() || target.contains(&0) || target.len() > PACKAGE_PATH_BYTES {
        return Err(refused(name, "the link's target is no path"));
    }
    let target = String::from_utf8(target)
        .map(PathBuf::from)
        .map_err(|_| refused(name, "the link's target is not UTF-8"))?;
    let mut depth = place.components().count() - 1;
    for component in target.components() {
        match component {
            Component::Normal(part) if part.len() > NAME_BYTES => {
                return Err(refused(name, "the link's target is no path"));
            }
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| refused(name, "the link leaves the package"))?;
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err(refused(name, "the link's target is absolute"));
            }
        }
    }
    Ok(target)
}

fn is_symlink(mode: Option<u32>) -> bool {
    const TYPE: u32 = 0o170_000;
    const LINK: u32 = 0o120_000;
    mode.is_some_and(|mode| mode & TYPE == LINK)
}

/// How many entries the end-of-central-directory record counts; `None` for a zip64 archive, whose
/// count stands elsewhere (APPNOTE 6.3.10, section 4.3.16).
fn claimed_entries(archive: &[u8]) -> Result<Option<usize>, PackageError> {
    const RECORD: usize = 22;
    const SIGNATURE: [u8; 4] = *b"PK\x05\x06";
    let from = archive.len().saturating_sub(RECORD + usize::from(u16::MAX));
    let record = archive[from..]
        .windows(RECORD)
        .rfind(|window| window.starts_with(&SIGNATURE))
        .ok_or_else(|| PackageError::Malformed {
            reason: "it does not end as a zip archive does".to_owned(),
        })?;
    let count = u16::from_le_bytes([record[10], record[11]]);
    Ok((count != u16::MAX).then_some(usize::from(count)))
}

/// Refuses a zip64 archive that claims more entries than are allowed: its reader makes room for as many as
/// are claimed, which ends the process where there is none (APPNOTE 6.3.10, section 4.3.14). Others cannot
/// claim more than 65,535.
fn check_claim(archive: &[u8], allowance: Allowance) -> Result<(), PackageError> {
    const SIGNATURE: [u8; 4] = *b"PK\x06\x06";
    let records = archive.windows(SIGNATURE.len()).enumerate();
    for (at, _) in records.filter(|(_, window)| *window == SIGNATURE) {
        let number = |from: usize| {
            let bytes = archive.get(at + from..at + from + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let (Some(record), Some(entries)) = (number(4), number(32)) else {
            continue;
        };
        // What is longer than the archive is no record, but content that looks like one.
        if record <= archive.len() as u64 && entries > allowance.entries as u64 {
            return Err(PackageError::TooLarge {
                limit: allowance.entries as u64,
                unit: "files and folders",
            });
        }
    }
    Ok(())
}

fn malformed(error: ZipError) -> PackageError {
    PackageError::Malformed {
        reason: error.to_string(),
    }
}

fn refused(name: &str, reason: &'static str) -> PackageError {
    PackageError::Refused {
        name: name.chars().take(200).collect(),
        reason,
    }
}

fn io_error(path: &Path, source: io::Error) -> PackageError {
    PackageError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
