use std::path::Path;
use std::sync::Arc;

use clock::SystemClock;
use tempfile::TempDir;

use super::{EmbeddedConfig, EmbeddedLog, Retention};
use crate::SharedLog;
use crate::conformance::Subject;

/// A log in a folder that goes with it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }
}

impl Subject for Folder {
    fn open(&self) -> SharedLog {
        open(self.0.path())
    }
}

/// Segments so small that a handful of records fills one.
fn small(dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        segment_bytes: 16 << 10,
        retention: Retention {
            age: None,
            bytes: None,
        },
        ..EmbeddedConfig::new(dir)
    }
}

fn open(dir: &Path) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(small(dir), Arc::new(SystemClock::new())).expect("the log opens")
}

mod contract {
    use super::Folder;

    crate::conformance_tests!(Folder::new());
}
