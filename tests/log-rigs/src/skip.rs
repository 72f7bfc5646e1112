//! What cannot run on a machine is counted and named, never passed over.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// Records that a test did not run: one line in the file that `TIDEMILL_SKIPS` names, which
/// `cargo xtask test` counts. The caller returns right after.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    if let Some(file) = std::env::var_os("TIDEMILL_SKIPS") {
        let line = format!("skipped: {test}: {reason}\n");
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the skip file is writable");
    }
}

/// The program of that name: the one that the environment variable names, else from `PATH`.
#[must_use]
pub fn program(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
