//! Where things are: the checkout, the build folder and the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::command;
use crate::contract::{self, Export};

/// The checkout that this run works on, and the folders outside it that it may fill.
pub(crate) struct Checkout {
    root: PathBuf,
    target: PathBuf,
    cache: Cache,
}

impl Checkout {
    /// Reads the environment that `cargo run` gives.
    ///
    /// # Errors
    /// When not started by cargo, or when no cache folder can be told.
    pub(crate) fn of_this_run() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .context("start this as `cargo xtask`: CARGO_MANIFEST_DIR is not set")?;
        let root = Path::new(&manifest)
            .ancestors()
            .nth(2)
            .context("xtask is expected two folders below the workspace root")?
            .to_owned();
        let home = cache_home()?.join("tidemill");
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| home.join("target"), |given| root.join(given));
        Ok(Self {
            root,
            target,
            cache: Cache::at(home.join("peers")),
        })
    }

    /// The workspace root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where everything is built.
    pub(crate) fn build_folder(&self) -> &Path {
        &self.target
    }

    /// Where downloaded servers and clients are kept between runs.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Has cargo forget what another checkout built here of its own packages.
    ///
    /// Cargo tells by the age of files what is to be built anew, so what another checkout has built is
    /// taken for this one's as long as it is younger than this one's files.
    ///
    /// # Errors
    /// When the build folder cannot be written, or cargo fails.
    pub(crate) fn claim(&self) -> Result<()> {
        let sign = self.target.join("checkout");
        let own = self.root.as_os_str().as_encoded_bytes();
        if fs::read(&sign).is_ok_and(|last| last == own) {
            return Ok(());
        }
        if self.target.is_dir() {
            for profile in [Profile::Debug, Profile::Release] {
                let clean = [&["clean", "--quiet", "--workspace"], profile.flags()].concat();
                command::run(&mut self.cargo(&clean))?;
            }
        }
        fs::create_dir_all(&self.target)
            .and_then(|()| fs::write(&sign, own))
            .with_context(|| format!("write {}", sign.display()))
    }

    /// Where tests find the binaries under test.
    ///
    /// # Errors
    /// When the build folder's path is not UTF-8.
    pub(crate) fn exports(&self, profile: Profile) -> Result<Vec<Export>> {
        let named = |name| {
            self.binary(profile, name)
                .into_os_string()
                .into_string()
                .ok()
        };
        let bin = named("tidemill").context("the build folder's path is not UTF-8")?;
        let bootstrap = named("bootstrap").context("the build folder's path is not UTF-8")?;
        Ok(vec![(contract::BIN, bin), (contract::BOOTSTRAP, bootstrap)])
    }

    /// The file that cargo writes for the binary `name`.
    pub(crate) fn binary(&self, profile: Profile, name: &str) -> PathBuf {
        self.target.join(profile.folder()).join(name)
    }

    /// A cargo command at the workspace root, building into the common build folder.
    ///
    /// The variables that cargo set for xtask itself are taken out, so that build scripts see what
    /// they would see from a plain cargo, and nothing is rebuilt for the difference.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&self.root)
            .args(arguments)
            .env("CARGO_TARGET_DIR", &self.target);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CARGO_CRATE_",
            ]
            .iter()
            .any(|own| text.starts_with(own))
            {
                cargo.env_remove(&name);
            }
        }
        cargo
    }
}

/// How the binaries under test are compiled.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// With debug assertions, as tests want it.
    Debug,
    /// With optimisations, as measurements want it.
    Release,
}

impl Profile {
    /// The folder below the build folder that cargo writes this profile to.
    fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }

    /// The flags that choose this profile.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Debug => &[],
            Self::Release => &["--release"],
        }
    }
}

fn cache_home() -> Result<PathBuf> {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("no cache folder: neither XDG_CACHE_HOME nor HOME is set")
}
