//! Hints that the file was written, from inotify.
//!
//! A commit cannot be seen from outside: in WAL mode it is complete only some time after the last
//! write, when shared memory says so. So a hint is the beginning of a series of looks, soon after one
//! another at first. Writes through another kernel (network file systems) give no hints and are found
//! by the last of the looks, which goes on for ever, twice a minute.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use inotify::{EventOwned, EventStream, Inotify, WatchMask};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Room for some hundred events: what does not fit waits in the kernel.
const BUFFER_BYTES: usize = 4096;

/// Watches the folder of a database.
#[derive(Debug)]
pub(super) struct Watch {
    events: EventStream<Vec<u8>>,
    /// The files whose writing means something.
    names: Vec<OsString>,
}

/// How long until the next look without a hint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) const fn first() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(super) const fn get(self) -> Duration {
        self.0
    }

    pub(super) fn longer(self) -> Self {
        Self((self.0 * 2).min(LONGEST_PAUSE))
    }
}

impl Watch {
    /// Watches from now on; `file` must have a folder and a name.
    pub(super) fn of(file: &Path) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let folder = file.parent().ok_or_else(invalid)?;
        let name = file.file_name().ok_or_else(invalid)?;
        let inotify = Inotify::init()?;
        let writes = WatchMask::MODIFY
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_TO
            | WatchMask::ONLYDIR;
        inotify.watches().add(folder, writes)?;
        let with = |ending: &str| {
            let mut name = name.to_owned();
            name.push(ending);
            name
        };
        Ok(Self {
            events: inotify.into_event_stream(vec![0; BUFFER_BYTES])?,
            names: ["", "-wal", "-journal"].map(with).to_vec(),
        })
    }

    /// Waits until one of the files is written; many writes are one hint. Cancel safe.
    pub(super) async fn hint(&mut self) -> io::Result<()> {
        loop {
            let event = self.events.next().await;
            if self.means_something(event)? {
                break;
            }
        }
        while let Some(event) = self.events.next().now_or_never() {
            self.means_something(event)?;
        }
        Ok(())
    }

    fn means_something(&self, event: Option<io::Result<EventOwned>>) -> io::Result<bool> {
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let event = event.ok_or_else(ended)??;
        // One without a name is about the folder, or about events that were lost.
        Ok(event.name.is_none_or(|name| self.names.contains(&name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_until_they_are_half_a_minute_apart() {
        let pauses = std::iter::successors(Some(Pause::first()), |pause| Some(pause.longer()));
        let millis: Vec<u128> = pauses.map(|it| it.get().as_millis()).take(20).collect();
        assert_eq!(millis[..4], [1, 2, 4, 8]);
        assert_eq!(millis[15..], [30_000; 5]);
    }

    #[tokio::test]
    async fn writes_to_the_file_or_its_log_are_hinted_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::of(&folder.path().join("a.db")).unwrap();
        for name in ["a.db", "a.db-wal", "a.db-journal"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
            watch.hint().await.unwrap();
        }
        std::fs::write(folder.path().join("b.db"), "x").unwrap();
        std::fs::write(folder.path().join("a.db-shm"), "x").unwrap();
        let hint = tokio::time::timeout(Duration::from_millis(20), watch.hint());
        assert!(hint.await.is_err());
    }
}
