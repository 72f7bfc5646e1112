//! Code packages.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// An archive of these files; every one may be executed.
///
/// # Errors
/// A name is refused by the archiver.
pub fn zip_of(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default().unix_permissions(0o755))?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// Writes an archive of these files into `dir` and returns its path.
///
/// # Errors
/// As [`zip_of`], or the file cannot be written.
pub fn zip_file(dir: &Path, name: &str, files: &[(&str, &[u8])]) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, zip_of(files)?)?;
    Ok(path)
}
