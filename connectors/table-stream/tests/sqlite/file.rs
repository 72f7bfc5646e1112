//! A database file, and `sqlite3` to write it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A database of its own for each test.
pub(crate) struct File {
    sqlite3: PathBuf,
    folder: tempfile::TempDir,
}

impl File {
    /// An empty database, if the environment names `sqlite3`.
    pub(crate) fn find(test: &str) -> Option<Self> {
        const VARIABLE: &str = "TIDEMILL_TEST_SQLITE3";
        if let Some(sqlite3) = std::env::var_os(VARIABLE).map(PathBuf::from) {
            let folder = tempfile::tempdir().unwrap();
            return Some(Self { sqlite3, folder });
        }
        // Counted by whoever runs the tests.
        if let Some(skips) = std::env::var_os("TIDEMILL_SKIPS") {
            let line = format!("skipped: {test}: there is no sqlite3 ({VARIABLE})\n");
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(skips);
            file.unwrap().write_all(line.as_bytes()).unwrap();
        }
        None
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    /// Runs statements to their end, and returns what they print.
    pub(crate) fn run(&self, sql: &str) -> String {
        let done = self.try_run(sql);
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success() && errors.is_empty(),
            "{sql}: {errors}"
        );
        String::from_utf8(done.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    pub(crate) fn try_run(&self, sql: &str) -> Output {
        let mut writer = self.writer();
        // A program that has failed reads no more.
        let _ = writer.stdin.take().unwrap().write_all(sql.as_bytes());
        writer.wait_with_output().unwrap()
    }

    /// A process that reads statements from its input; it waits for locks, as programs that share a
    /// file should.
    pub(crate) fn writer(&self) -> Child {
        let mut command = Command::new(&self.sqlite3);
        command.args(["-batch", "-bail", "-cmd", ".timeout 20000"]);
        command.arg(self.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}
