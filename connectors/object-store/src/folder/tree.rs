//! Hints about everything below the folder.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use futures::{FutureExt as _, StreamExt as _};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

/// Room for some hundred events: what does not fit waits in the kernel.
const BUFFER_BYTES: usize = 16 << 10;

/// Whether hints are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hints {
    Wanted,
    /// Only in tests: they are all lost.
    #[cfg(test)]
    Lost,
}

/// The folders that are watched.
#[derive(Debug)]
pub(super) struct Folders {
    watches: Watches,
    paths: HashMap<WatchDescriptor, PathBuf>,
    hints: Hints,
    /// Whether a folder could not be watched and that was said.
    unwatched: Unwatched,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwatched {
    None,
    Some,
}

/// What is known from hints.
#[derive(Debug)]
pub(super) struct Tree {
    events: EventStream<Vec<u8>>,
    pub(super) folders: Option<Folders>,
    /// Files that were closed or moved here, and not written since.
    pub(super) closed: HashSet<PathBuf>,
}

impl Folders {
    /// Watches a folder, from now on. That one cannot be watched is said once: looks find what it holds.
    pub(super) fn watch(&mut self, folder: &Path) -> io::Result<()> {
        if self.hints != Hints::Wanted {
            return Ok(());
        }
        let mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::ATTRIB
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::ONLYDIR
            | WatchMask::DONT_FOLLOW;
        match self.watches.add(folder, mask) {
            Ok(descriptor) => {
                self.paths.insert(descriptor, folder.to_owned());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(error) => {
                if self.unwatched == Unwatched::None {
                    self.unwatched = Unwatched::Some;
                    let folder = folder.display();
                    tracing::warn!(%folder, %error, "a folder cannot be watched: what happens in it is found by looks only");
                }
                Ok(())
            }
        }
    }
}

impl Tree {
    pub(super) fn new(hints: Hints) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        Ok(Self {
            events: inotify.into_event_stream(vec![0; BUFFER_BYTES])?,
            folders: Some(Folders {
                watches,
                paths: HashMap::new(),
                hints,
                unwatched: Unwatched::None,
            }),
            closed: HashSet::new(),
        })
    }

    /// Waits until something has happened that a look might find. Cancel safe.
    pub(super) async fn hint(&mut self) -> io::Result<()> {
        loop {
            let event = self.events.next().await;
            let mut hinted = self.note(event)?;
            while let Some(event) = self.events.next().now_or_never() {
                hinted |= self.note(event)?;
            }
            if hinted {
                return Ok(());
            }
        }
    }

    /// Whether to look because of an event.
    fn note(&mut self, event: Option<io::Result<EventOwned>>) -> io::Result<bool> {
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let event = event.ok_or_else(ended)??;
        let mask = event.mask;
        if mask.contains(EventMask::Q_OVERFLOW) {
            // Among those lost may be writes.
            self.closed.clear();
            return Ok(true);
        }
        let folder =
            self.folders
                .as_mut()
                .and_then(|folders| match mask.contains(EventMask::IGNORED) {
                    true => folders.paths.remove(&event.wd),
                    false => folders.paths.get(&event.wd).cloned(),
                });
        if let (Some(folder), Some(name)) = (folder, event.name) {
            let path = folder.join(name);
            if mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO) {
                self.closed.insert(path);
            } else if !mask.contains(EventMask::ATTRIB) {
                self.closed.remove(&path);
            }
        }
        // A file that is being written is looked at when it is closed.
        Ok(!mask.contains(EventMask::MODIFY))
    }
}
