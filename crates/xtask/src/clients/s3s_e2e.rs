//! s3s-e2e, which judges S3 servers: the test suite of the s3s project, from crates.io.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::text;
use crate::cache::Cache;
use crate::command;
use crate::contract::{self, Export};

const VERSION: &str = "0.14.1";

/// Builds it in its own versions of everything, without optimisation: it is run for a second, and
/// compiling it so takes a good two minutes of two cores.
pub(super) fn built(cache: &Cache) -> Result<Vec<Export>> {
    let folder = cache.fetched("s3s-e2e", VERSION, |folder| {
        let target = folder.join("target");
        let mut cargo = Command::new("cargo");
        cargo
            .args(["install", "s3s-e2e", "--version", VERSION])
            .args(["--locked", "--debug", "--no-track", "--quiet", "--root"])
            .arg(folder)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        command::run(&mut cargo)?;
        fs::remove_dir_all(&target).context("remove what s3s-e2e was built in")
    })?;
    let program = folder.join("bin/s3s-e2e");
    Ok(vec![(contract::S3S_E2E, text(program)?)])
}
