//! Which files are open for writing, as far as the server may know.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A file by its device and number there.
pub(super) type FileId = (u64, u64);

/// Those of `files` that some process has open for writing. Processes that may not be looked into count
/// as having nothing open.
pub(super) fn open_for_writing(files: &HashSet<FileId>) -> HashSet<FileId> {
    let mut found = HashSet::new();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return found;
    };
    for process in processes.flatten() {
        let name = process.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        let folder = process.path();
        let Ok(descriptors) = std::fs::read_dir(folder.join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            // It follows to the file itself.
            let Ok(file) = std::fs::metadata(descriptor.path()) else {
                continue;
            };
            let id = (file.dev(), file.ino());
            if files.contains(&id)
                && !found.contains(&id)
                && writes(&folder.join("fdinfo").join(descriptor.file_name()))
            {
                found.insert(id);
            }
        }
    }
    found
}

/// Whether the flags of an open file say so; the last two of their bits do (`open(2)`).
fn writes(info: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(info) else {
        return false;
    };
    let flags = text
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 0b11 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn writers_are_found_and_readers_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let id = |file: &File| {
            let file = file.metadata().unwrap();
            (file.dev(), file.ino())
        };
        let written = File::create(folder.path().join("written")).unwrap();
        File::create(folder.path().join("read")).unwrap();
        let read = File::open(folder.path().join("read")).unwrap();
        let both = [id(&written), id(&read)].into();
        assert_eq!(open_for_writing(&both), [id(&written)].into());
        drop(written);
        assert_eq!(open_for_writing(&both), HashSet::new());
    }
}
