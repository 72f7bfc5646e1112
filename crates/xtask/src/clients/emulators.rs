//! Emulators of Lambda by others.

use std::env::consts::ARCH;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::text;
use crate::cache::Cache;
use crate::command;
use crate::contract::{self, Export};

/// AWS's own command line brings the emulator as AWS builds it.
const SAM: &str = "aws-sam-cli==1.170.0";
const CARGO_LAMBDA: &str = "cargo-lambda==1.9.2";

/// aws-lambda-rie, out of a package of PyPI.
pub(super) fn rie(cache: &Cache) -> Result<Vec<Export>> {
    let architecture = match ARCH {
        "x86_64" => "x86_64",
        "aarch64" => "arm64",
        other => bail!("there is no aws-lambda-rie for {other}"),
    };
    let folder = cache.fetched("aws-lambda-rie", SAM, |folder| {
        let package = folder.join("package");
        command::run(pip().arg(&package).arg(SAM))?;
        let emulator = package.join(format!("samcli/local/rapid/aws-lambda-rie-{architecture}"));
        fs::rename(&emulator, folder.join("aws-lambda-rie"))
            .with_context(|| format!("take {}", emulator.display()))?;
        fs::remove_dir_all(&package).with_context(|| format!("remove {}", package.display()))
    })?;
    Ok(vec![(
        contract::BENCH_RIE,
        text(folder.join("aws-lambda-rie"))?,
    )])
}

/// cargo-lambda, from PyPI, where it comes built.
pub(super) fn cargo_lambda(cache: &Cache) -> Result<Vec<Export>> {
    let folder = cache.fetched("cargo-lambda", CARGO_LAMBDA, |folder| {
        command::run(pip().arg(folder).arg(CARGO_LAMBDA))
    })?;
    Ok(vec![(
        contract::BENCH_CARGO_LAMBDA,
        text(folder.join("bin/cargo-lambda"))?,
    )])
}

/// Installs one package, without those that it needs, into the folder that follows.
fn pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
    pip
}
