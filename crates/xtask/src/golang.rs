//! A Go that is new enough, and programs built with it through the Go module proxy.

use std::env::consts::ARCH;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::command::{self, output};
use crate::debian::Tool;

const GO: Tool = Tool {
    program: "go",
    package: "golang-go",
};
/// The first minor version of Go 1 that builds the modules we use.
const OLDEST_MINOR: u32 = 26;
/// What is fetched where the Go at hand is older: Debian 12 has 1.19.
const TOOLCHAIN: &str = "golang.org/toolchain@v0.0.1-go1.26.0";

/// A Go toolchain.
pub(crate) struct Go {
    program: PathBuf,
    /// Set where the program is not the machine's own.
    root: Option<PathBuf>,
}

impl Go {
    /// The machine's Go, or the pinned toolchain fetched by it when it is too old.
    ///
    /// # Errors
    /// When neither can be had.
    pub(crate) fn installed(cache: &Cache) -> Result<Self> {
        let program = GO.installed()?;
        let version = output(Command::new(&program).arg("version"))?;
        if minor_of(&version).is_some_and(|minor| minor >= OLDEST_MINOR) {
            return Ok(Self {
                program,
                root: None,
            });
        }
        let architecture = match ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => bail!(
                "Go's toolchain is not fetched for {other}; install Go 1.{OLDEST_MINOR} or newer"
            ),
        };
        let toolchain = format!("{TOOLCHAIN}.linux-{architecture}");
        let folder = cache.fetched("go", &toolchain, |folder| {
            command::run(
                Command::new(&program)
                    .args(["mod", "download", "-modcacherw", &toolchain])
                    .current_dir(folder)
                    .env("GOFLAGS", "")
                    .env("GOMODCACHE", folder),
            )
        })?;
        let root = folder.join(toolchain);
        allow_running(&root.join("bin"))?;
        allow_running(&root.join("pkg/tool").join(format!("linux_{architecture}")))?;
        Ok(Self {
            program: root.join("bin/go"),
            root: Some(root),
        })
    }

    /// Builds the program in the folder `module` into the file `program` there.
    ///
    /// # Errors
    /// When what it needs cannot be fetched, or it does not build.
    pub(crate) fn build(&self, module: &Path, program: &Path) -> Result<()> {
        let mut go = self.command();
        command::run(go.arg("build").arg("-o").arg(program).current_dir(module))
    }

    /// The same, as a WebAssembly program.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub(crate) fn build_for_wasi(&self, module: &Path, program: &Path) -> Result<()> {
        let mut go = self.command();
        go.env("GOOS", "wasip1").env("GOARCH", "wasm");
        go.args(["build", "-ldflags=-s", "-o"]).arg(program);
        command::run(go.current_dir(module))
    }

    /// Builds the program `package` (`path@version`) into `folder`.
    ///
    /// # Errors
    /// When it cannot be fetched or built.
    pub(crate) fn install(&self, package: &str, folder: &Path) -> Result<()> {
        let mut go = self.command();
        command::run(go.args(["install", package]).env("GOBIN", folder))
    }

    fn command(&self) -> Command {
        let mut go = Command::new(&self.program);
        if let Some(root) = &self.root {
            go.env("GOROOT", root);
        }
        go.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
        go
    }
}

/// The module format carries no permissions, so what is a program must be marked as one.
fn allow_running(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("list {}", folder.display()))?
            .path();
        fs::set_permissions(&path, Permissions::from_mode(0o755))
            .with_context(|| format!("mark {} as a program", path.display()))?;
    }
    Ok(())
}

/// The `N` in `go version go1.N.P linux/amd64`.
fn minor_of(version: &str) -> Option<u32> {
    version
        .split_once(" go1.")?
        .1
        .split(['.', ' ', 'r', 'b'])
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::minor_of;

    #[test]
    fn the_version_of_go_is_read() {
        assert_eq!(minor_of("go version go1.19.8 linux/amd64"), Some(19));
        assert_eq!(minor_of("go version go1.25 linux/arm64"), Some(25));
        assert_eq!(minor_of("go version go1.26rc1 linux/amd64"), Some(26));
        assert_eq!(minor_of("go version devel"), None);
    }
}
