//! Rules of the source tree that no compiler knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::output;

/// Folders whose subfolders, or which themselves, are packages.
const PACKAGES: &[&str] = &["crates/*", "connectors/*", "benches", "tests", "tests/*"];

/// Where the Grafana boards are.
const BOARDS: &str = "docker/grafana/boards/";

/// Beginnings of paths that are true on one machine only; joined here so that this file has none.
const HOMES: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
];

/// Checks every rule.
///
/// # Errors
/// Names each place that breaks one.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut broken = Vec::new();
    let files = tracked_files(root)?;
    for (file, text) in &files {
        broken.extend(home_paths(text).map(|line| format!("{file}:{line}: names a home folder")));
    }
    for (file, text) in with_ending(&files, ".json").filter(|(file, _)| file.starts_with(BOARDS)) {
        let missing = metrics(text)
            .filter(|metric| !with_ending(&files, ".rs").any(|(_, code)| code.contains(*metric)));
        broken
            .extend(missing.map(|metric| format!("{file}: shows {metric}, which no code counts")));
    }
    for package in packages(root)? {
        if !has_module_doc(&package) {
            broken.push(format!(
                "{}: begins without a `//!` that says what it is for",
                package.display()
            ));
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        bail!("\n  {}", broken.join("\n  "))
    }
}

/// The text files under version control, by their paths from the root.
fn tracked_files(root: &Path) -> Result<Vec<(String, String)>> {
    let listed = output(
        Command::new("git")
            .current_dir(root)
            .args(["ls-files", "-z"]),
    )?;
    // Binary files, and those deleted but not yet committed, say nothing.
    let read = |file: &str| Some((file.to_owned(), fs::read_to_string(root.join(file)).ok()?));
    Ok(listed.split_terminator('\0').filter_map(read).collect())
}

fn with_ending<'a>(
    files: &'a [(String, String)],
    ending: &'a str,
) -> impl Iterator<Item = &'a (String, String)> {
    files.iter().filter(move |(file, _)| file.ends_with(ending))
}

/// The names of our metrics in a Grafana board, as the code spells them.
fn metrics(board: &str) -> impl Iterator<Item = &str> {
    let words = board.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("tidemill_"))
        .map(|word| {
            let series = ["_bucket", "_sum", "_count"];
            series
                .iter()
                .find_map(|ending| word.strip_suffix(ending))
                .unwrap_or(word)
        })
}

/// The numbers of lines that name a file in somebody's home folder.
fn home_paths(text: &str) -> impl Iterator<Item = usize> {
    let names = |line: &&str| {
        HOMES.iter().any(|home| {
            line.match_indices(home).any(|(at, _)| {
                // In the middle of a path it is a folder of that name like any other.
                !line[..at].ends_with(char::is_alphanumeric)
                    && line[at + home.len()..]
                        .starts_with(|c: char| c.is_alphanumeric() || c == '.')
            })
        })
    };
    text.lines()
        .enumerate()
        .filter(move |(_, line)| names(line))
        .map(|(index, _)| index + 1)
}

fn packages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for pattern in PACKAGES {
        match pattern.strip_suffix("/*") {
            None => folders.push(root.join(pattern)),
            Some(parent) => {
                let parent = root.join(parent);
                for entry in
                    fs::read_dir(&parent).with_context(|| format!("list {}", parent.display()))?
                {
                    folders.push(
                        entry
                            .with_context(|| format!("list {}", parent.display()))?
                            .path(),
                    );
                }
            }
        }
    }
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.sort();
    Ok(folders)
}

/// Whether the package's library, or else its binary, opens with a module doc.
fn has_module_doc(package: &Path) -> bool {
    let read = |name| fs::read_to_string(package.join("src").join(name)).ok();
    read("lib.rs")
        .or_else(|| read("main.rs"))
        .is_some_and(|text| text.starts_with("//!"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found_and_a_mere_folder_name_is_not() {
        let text = format!(
            "fine\nsee {}me/notes\nthe folder {} itself\nfar down: /proc/1{}etc\n",
            HOMES[1], HOMES[1], HOMES[0]
        );
        assert_eq!(home_paths(&text).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_board_s_metrics_are_read_as_the_code_spells_them() {
        let board = r#"{"expr": "sum by (le) (rate(tidemill_of_a_test_seconds_bucket[1m])) / tidemill_of_a_test{state=\"idle\"}"}"#;
        assert_eq!(
            metrics(board).collect::<Vec<_>>(),
            ["tidemill_of_a_test_seconds", "tidemill_of_a_test"]
        );
    }
}
