//! Whether the commands that the README shows exist.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;

use crate::command::output;

/// Checks the README's `cargo xtask …`, `tidemill …` and `cargo run … -- …` commands, and its links to files.
///
/// `bin` is the built `tidemill`, whose help is asked for each command shown.
///
/// # Errors
/// Names everything that is shown and does not exist.
pub(crate) fn check(root: &Path, bin: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join("README.md")).context("read README.md")?;
    let mut missing = Vec::new();
    for words in commands(&text, &["cargo xtask "]) {
        if crate::Cli::command().find_subcommand(&words[0]).is_none() {
            missing.push(format!("cargo xtask {}", words[0]));
        }
    }
    for words in commands(
        &text,
        &["tidemill ", "cargo run --release -- ", "cargo run -- "],
    ) {
        if !exists(bin, &words) {
            missing.push(format!("tidemill {}", words.join(" ")));
        }
    }
    for file in links(&text) {
        if !root.join(file).exists() {
            missing.push(file.to_owned());
        }
    }
    missing.sort();
    missing.dedup();
    if missing.is_empty() {
        Ok(())
    } else {
        bail!(
            "README.md shows what does not exist: {}",
            missing.join(", ")
        )
    }
}

/// Whether `tidemill` has the command that `words` begin with, as far as its help lists commands.
fn exists(bin: &Path, words: &[String]) -> bool {
    let mut path = Vec::new();
    for word in words {
        let Ok(help) = output(Command::new(bin).args(&path).arg("--help")) else {
            return false;
        };
        let listed = listed_commands(&help);
        if listed.is_empty() {
            // What follows is an argument, such as the name of a function.
            return true;
        }
        if !listed.contains(&word.as_str()) {
            return false;
        }
        path.push(word);
    }
    true
}

/// The names under `Commands:` in the help of a clap program.
fn listed_commands(help: &str) -> Vec<&str> {
    let mut lines = help.lines().skip_while(|line| line.trim() != "Commands:");
    lines.next();
    // A name stands two columns in; its description, when wrapped, further.
    let names = lines.take_while(|line| !line.is_empty() && line.starts_with(' '));
    names
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// The words after each of `prefixes` at the start of a line in a fenced block, up to the first that is no plain word.
fn commands(markdown: &str, prefixes: &[&str]) -> Vec<Vec<String>> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let line = line.trim_start().trim_start_matches("$ ");
        for rest in prefixes
            .iter()
            .filter_map(|prefix| line.strip_prefix(prefix))
        {
            let words: Vec<String> = rest
                .split(' ')
                .take_while(|word| is_plain(word))
                .map(str::to_owned)
                .collect();
            if fenced && !words.is_empty() {
                found.push(words);
            }
        }
    }
    found
}

fn is_plain(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// Files that the page links to, relative to it.
fn links(markdown: &str) -> impl Iterator<Item = &str> {
    let targets = markdown
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_fenced_blocks_only() {
        let page = "cargo xtask prose\n```sh\n$ cargo xtask test --package x\ncargo run --release -- logs csv-summary --follow\n```\n";
        assert_eq!(commands(page, &["cargo xtask "]), [["test"]]);
        assert_eq!(
            commands(page, &["cargo run --release -- "]),
            [["logs", "csv-summary"]]
        );
    }

    #[test]
    fn the_commands_a_program_lists_are_read() {
        let help = "Does it.\n\nCommands:\n  serve  Start\n           more\n  logs   Show\n\nOptions:\n  -h\n";
        assert_eq!(listed_commands(help), ["serve", "logs"]);
    }

    #[test]
    fn links_to_files_are_read_without_their_anchors() {
        let page = "[a](ARCHITECTURE.md#log) [b](https://example.org) ![c](docs/c.png) [d](#here)";
        assert_eq!(
            links(page).collect::<Vec<_>>(),
            ["ARCHITECTURE.md", "docs/c.png"]
        );
    }
}
