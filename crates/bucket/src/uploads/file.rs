//! The file of one upload.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{PartLine, UploadInfo};
use crate::Error;
use crate::blob::sync_folder;

const EXTENSION: &str = "jsonl";

/// An upload's file, open for the next line.
#[derive(Debug)]
pub(super) struct UploadFile {
    file: File,
    path: PathBuf,
    /// Where the next line goes: the end of the last one that was synced.
    end: u64,
}

impl UploadFile {
    /// Makes the file with its first line, durably.
    pub(super) fn create(folder: &Path, info: &UploadInfo) -> io::Result<Self> {
        let path = folder.join(format!("{}.{EXTENSION}", info.id));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        let mut upload = Self { file, path, end: 0 };
        upload.append(info).inspect_err(|_| {
            // What is left of a failed creation would only be dropped at the next start.
            let _ = std::fs::remove_file(&upload.path);
        })?;
        sync_folder(folder)?;
        Ok(upload)
    }

    /// Adds a line, durably. What a failed call leaves behind the end is overwritten by the next.
    pub(super) fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.set_len(self.end)?;
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Removes the file, durably.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)?;
        sync_folder(
            self.path
                .parent()
                .expect("an upload's file lies in a folder"),
        )
    }
}

/// Reads every upload of a folder, which is made when absent.
pub(super) fn read_all(
    folder: &Path,
) -> Result<Vec<(UploadFile, UploadInfo, Vec<PartLine>)>, Error> {
    let failed = |source| Error::io("read the folder of uploads", source);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut uploads = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            uploads.extend(read(path)?);
        }
    }
    Ok(uploads)
}

/// Reads one file. `None` when not even its first line was written: it is removed.
fn read(path: PathBuf) -> Result<Option<(UploadFile, UploadInfo, Vec<PartLine>)>, Error> {
    let failed = |source| Error::io("read an upload's file", source);
    let text = std::fs::read(&path).map_err(failed)?;
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |last| last + 1);
    let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
    let upload = UploadFile {
        file,
        path,
        end: whole as u64,
    };
    let damaged = |line: usize, error: serde_json::Error| Error::Corrupt {
        place: format!("{} line {}", upload.path.display(), line + 1),
        reason: error.to_string(),
    };
    let mut lines = text[..whole]
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate();
    let Some((_, first)) = lines.next() else {
        upload.remove().map_err(failed)?;
        return Ok(None);
    };
    let info = serde_json::from_slice(first).map_err(|error| damaged(0, error))?;
    let parts = lines
        .map(|(number, line)| serde_json::from_slice(line).map_err(|error| damaged(number, error)))
        .collect::<Result<_, _>>()?;
    Ok(Some((upload, info, parts)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clock::Timestamp;

    use super::*;
    use crate::{BucketName, ObjectKey, UploadId};

    fn info() -> UploadInfo {
        UploadInfo {
            id: UploadId::random(),
            bucket: BucketName::new("data").unwrap(),
            key: ObjectKey::new("k").unwrap(),
            initiated: Timestamp::from_millis(5),
            attributes: Default::default(),
            checksum: None,
        }
    }

    fn line(part: u16) -> String {
        format!(
            r#"{{"part":{part},"etag":"e","blob":["ab000000000000000000000000000000",7],"checksums":{{"kind":"full-object","values":{{}}}},"uploaded":6}}"#
        )
    }

    #[test]
    fn a_last_line_that_was_cut_short_is_dropped_and_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let info = info();
        let upload = UploadFile::create(folder.path(), &info).unwrap();
        let mut raw = OpenOptions::new().append(true).open(&upload.path).unwrap();
        write!(raw, "{}\n{}", line(1), &line(2)[..20]).unwrap();

        let (mut upload, read_info, parts) = read_all(folder.path()).unwrap().pop().unwrap();
        assert_eq!(read_info, info);
        assert_eq!(parts.len(), 1);
        upload.append(&parts[0]).unwrap();
        assert_eq!(read_all(folder.path()).unwrap()[0].2.len(), 2);
    }

    #[test]
    fn damage_before_the_last_line_names_the_file_and_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let upload = UploadFile::create(folder.path(), &info()).unwrap();
        let mut raw = OpenOptions::new().append(true).open(&upload.path).unwrap();
        write!(raw, "garbage\n{}\n", line(1)).unwrap();
        let error = read_all(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn an_upload_whose_creation_was_cut_short_never_was() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.jsonl"), "{\"id\":").unwrap();
        assert!(read_all(folder.path()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
