//! Programs that come from Debian's packages.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

use crate::command::{self, find};

/// A program and the Debian package that brings it.
///
/// The program counts, not the package: a Java or Node.js from elsewhere serves as well.
pub(crate) struct Tool {
    /// What must be on the path.
    pub(crate) program: &'static str,
    /// What to install when it is not.
    pub(crate) package: &'static str,
}

impl Tool {
    /// The program's path, after installing its package if that is needed and possible.
    ///
    /// # Errors
    /// When the program is missing and we may not or cannot install it; the text says what to run.
    pub(crate) fn installed(&self) -> Result<PathBuf> {
        if let Some(found) = find(self.program) {
            return Ok(found);
        }
        install(self.package)?;
        match find(self.program) {
            Some(found) => Ok(found),
            None => bail!(
                "package {} was installed but brought no `{}` on the path",
                self.package,
                self.program
            ),
        }
    }
}

/// Installs one Debian package.
///
/// # Errors
/// When there is no apt, when we are not root, or when apt fails.
pub(crate) fn install(package: &str) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("{package} is missing, and this is no Debian to install it on");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{package} is missing; install it with `sudo apt-get install {package}`");
    }
    update_lists_once()?;
    command::run(apt().args(["install", "--yes", "--no-install-recommends", package]))
}

fn update_lists_once() -> Result<()> {
    static UPDATED: OnceLock<()> = OnceLock::new();
    if UPDATED.get().is_none() {
        command::run(apt().arg("update"))?;
        UPDATED.get_or_init(|| ());
    }
    Ok(())
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.arg("--quiet=2")
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}
