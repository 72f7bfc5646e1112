//! Where the demo's functions and data are.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::Value;

/// What the demo publishes: a topic and the field of its records that is their key.
pub(crate) const ORDERS: Topic = Topic {
    name: "orders",
    key: "customer",
};
/// Earthquake reports, which the Node.js function enriches.
pub(crate) const EARTHQUAKES: Topic = Topic {
    name: "earthquakes",
    key: "id",
};
/// Where the Node.js function publishes.
pub(crate) const ENRICHED: &str = "earthquakes-enriched";

/// A topic whose records are in `functions/data/topics/<name>.jsonl`.
#[derive(Clone, Copy)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) key: &'static str,
}

/// The `functions/` folder of a checkout.
pub(crate) struct Sources {
    root: PathBuf,
}

impl Sources {
    /// Looks for the folder here and above.
    ///
    /// # Errors
    /// There is none: the demo deploys the examples of a checkout.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("find the current folder")?;
        here.ancestors()
            .find(|folder| folder.join("functions/csv-summary").is_dir())
            .map(|folder| Self {
                root: folder.to_owned(),
            })
            .ok_or_else(|| {
                anyhow!("run the demo inside a checkout: it deploys the examples in functions/")
            })
    }

    /// The checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// One example function's folder.
    pub(crate) fn function(&self, name: &str) -> PathBuf {
        self.root.join("functions").join(name)
    }

    /// The CSV files of the examples' data, by name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn csv_files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.root.join("functions/data/csv");
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("read the data in {}", folder.display()))?;
        let mut files = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()?;
        files.sort();
        Ok(files)
    }

    /// The records of a topic: key and value.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no JSON object.
    pub(crate) fn records(&self, topic: Topic) -> anyhow::Result<Vec<(String, String)>> {
        let file = self
            .root
            .join("functions/data/topics")
            .join(format!("{}.jsonl", topic.name));
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        text.lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line)
                    .with_context(|| format!("a line of {}", file.display()))?;
                let key = value[topic.key].as_str().unwrap_or_default().to_owned();
                Ok((key, line.to_owned()))
            })
            .collect()
    }
}
