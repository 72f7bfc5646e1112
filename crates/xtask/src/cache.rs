//! Downloads that outlive a run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A folder of things fetched once per version.
///
/// A thing is complete when its stamp file holds the very text that the caller asks for; a stamp is
/// written last, so an interrupted fetch is thrown away and begun anew.
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache below `folder`, which is made when something is first fetched.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of `name`, filled by `fill` unless it already holds what `recipe` describes.
    ///
    /// One process fetches at a time; others wait.
    ///
    /// # Errors
    /// When `fill` fails, or the folder cannot be written.
    pub(crate) fn fetched(
        &self,
        name: &str,
        recipe: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        let stamp = folder.join("complete");
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("make {}", self.folder.display()))?;
        let lock = File::create(self.folder.join("lock")).context("open the cache's lock")?;
        lock.lock().context("lock the cache")?;
        if fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("remove stale {}", folder.display()))?;
        }
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        fill(&folder)?;
        fs::write(&stamp, recipe).with_context(|| format!("write {}", stamp.display()))?;
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_thing_is_fetched_once_and_another_version_replaces_it() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("peers"));
        let mut fetches = 0;
        for recipe in ["1", "1", "2"] {
            cache
                .fetched("thing", recipe, |folder| {
                    fetches += 1;
                    fs::write(folder.join(recipe), "")?;
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(fetches, 2);
        assert!(!home.path().join("peers/thing/1").exists());
    }

    #[test]
    fn an_interrupted_fetch_is_begun_anew() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().to_owned());
        let broken = cache.fetched("thing", "1", |folder| {
            fs::write(folder.join("half"), "")?;
            anyhow::bail!("the network went away")
        });
        assert!(broken.is_err());
        let folder = cache.fetched("thing", "1", |_| Ok(())).unwrap();
        assert!(!folder.join("half").exists());
    }
}
