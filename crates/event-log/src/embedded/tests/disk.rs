//! A disk in memory that loses what was not synced, runs full, and breaks, all on demand.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use crate::embedded::storage::{Storage, StoredFile};

const SECTOR: usize = 512;

/// The disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>, Arc<Gate>);

/// Holds syncs back.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    /// Syncs of files whose path has this in it wait.
    closed: Option<&'static str>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    entries: BTreeMap<PathBuf, usize>,
    durable_entries: BTreeMap<PathBuf, usize>,
    /// Bytes that all files may have together.
    size: Option<usize>,
    /// Operations that change something, so far.
    operations: u64,
    /// From this operation on nothing happens any more, though it seems to.
    power_cut_at: Option<u64>,
    next_write: Option<Errno>,
    next_sync: Option<Errno>,
    /// Files that were read from one end to the other.
    read_through: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
}

/// Keeps syncs waiting. Also a test that fails lets them go: the log could not be dropped else.
pub(super) struct Held(Disk);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.1.state.lock().closed = None;
        self.0.1.opened.notify_all();
    }
}

#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    file: usize,
    path: PathBuf,
}

/// A small generator of pseudo-random numbers (SplitMix64), so that a seed names a run.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl Disk {
    /// Bounds the sizes of all files together.
    pub(super) fn set_size(&self, bytes: Option<usize>) {
        self.0.lock().size = bytes;
    }

    /// Lets the next write of frames fail half way.
    pub(super) fn fail_next_write(&self, errno: Errno) {
        self.0.lock().next_write = Some(errno);
    }

    pub(super) fn fail_next_sync(&self, errno: Errno) {
        self.0.lock().next_sync = Some(errno);
    }

    /// From now on the syncs of a journal wait, until the answer is dropped.
    pub(super) fn hold_syncs(&self, journal: &'static str) -> Held {
        self.1.state.lock().closed = Some(journal);
        Held(self.clone())
    }

    /// Waits until a sync waits.
    pub(super) async fn held_sync(&self) {
        while self.1.state.lock().waiting == 0 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn cut_power_at(&self, operation: u64) {
        self.0.lock().power_cut_at = Some(operation);
    }

    pub(super) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    pub(super) fn is_cut(&self) -> bool {
        let state = self.0.lock();
        state.power_cut_at.is_some_and(|at| state.operations >= at)
    }

    /// What is left after a power cut: of everything not synced, any sector may have been written.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let old = self.0.lock();
        let entries = if random.below(2) == 0 {
            old.entries.clone()
        } else {
            old.durable_entries.clone()
        };
        let mut files = old.files.clone();
        for file in &mut files {
            file.lose(random);
        }
        let state = Arc::new(Mutex::new(State {
            files,
            durable_entries: entries.clone(),
            entries,
            ..State::default()
        }));
        Self(state, Arc::default())
    }

    /// A copy of the disk as it stands, for experiments.
    pub(super) fn copy(&self) -> Self {
        let old = self.0.lock();
        let state = Arc::new(Mutex::new(State {
            files: old.files.clone(),
            entries: old.entries.clone(),
            durable_entries: old.durable_entries.clone(),
            ..State::default()
        }));
        Self(state, Arc::default())
    }

    /// The files whose path ends like that, in order.
    pub(super) fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let state = self.0.lock();
        let ends = |path: &&PathBuf| path.to_string_lossy().ends_with(suffix);
        state.entries.keys().filter(ends).cloned().collect()
    }

    pub(super) fn forget_reads(&self) {
        self.0.lock().read_through.clear();
    }

    /// The files whose path ends like that and that were read through, in that order.
    pub(super) fn read_through(&self, suffix: &str) -> Vec<PathBuf> {
        let mut read = self.0.lock().read_through.clone();
        read.retain(|path| path.to_string_lossy().ends_with(suffix));
        read
    }

    /// Changes a file behind the log's back.
    pub(super) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let file = state.entries[path];
        let file = &mut state.files[file];
        change(&mut file.current);
        file.durable = file.current.clone();
    }

    pub(super) fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.0.lock();
        state.files[state.entries[path]].current.clone()
    }

    pub(super) fn delete(&self, path: &Path) {
        let mut state = self.0.lock();
        state.entries.remove(path).expect("the file is there");
    }
}

impl Content {
    fn lose(&mut self, random: &mut Random) {
        let mut left = self.durable.clone();
        if random.below(2) == 0 {
            left.resize(self.current.len(), 0);
        }
        let sectors = self.current.chunks(SECTOR);
        for (kept, written) in left.chunks_mut(SECTOR).zip(sectors) {
            if random.below(2) == 0 && kept.len() == written.len() {
                kept.copy_from_slice(written);
            }
        }
        self.current = left.clone();
        self.durable = left;
    }
}

impl State {
    /// Counts an operation; `false` when the power is off.
    fn goes_on(&mut self) -> bool {
        self.operations += 1;
        self.power_cut_at.is_none_or(|at| self.operations < at)
    }

    fn used(&self) -> usize {
        let files = self.entries.values().map(|file| &self.files[*file]);
        files.map(|file| file.current.len()).sum()
    }
}

impl Storage for Disk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.goes_on() {
            let mut durable = state.durable_entries.clone();
            durable.retain(|path, _| path.parent() != Some(dir));
            let here = state.entries.iter();
            let here = here.filter(|(path, _)| path.parent() == Some(dir));
            durable.extend(here.map(|(path, file)| (path.clone(), *file)));
            state.durable_entries = durable;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let here = state
            .entries
            .keys()
            .filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(here.map(name).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.0.lock();
        let file = match state.entries.get(path) {
            Some(file) => *file,
            None => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                if state.goes_on() {
                    state.entries.insert(path.to_owned(), file);
                }
                file
            }
        };
        let disk = self.clone();
        let path = path.to_owned();
        Ok(Arc::new(DiskFile { disk, file, path }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.goes_on() {
            let file = state.entries.remove(from).expect("the file is there");
            state.entries.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.goes_on() {
            let removed = state.entries.remove(path);
            return removed.map(drop).ok_or(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }
}

impl StoredFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.file].current.len() as u64)
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        self.disk.0.lock().read_through.push(self.path.clone());
        Ok(self.disk.0.lock().files[self.file].current.clone())
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let state = self.disk.0.lock();
        let at = position as usize;
        let from = state.files[self.file].current.get(at..at + into.len());
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let failure = if self.path.ends_with("synced") {
            None
        } else {
            state.next_write.take()
        };
        // A failing write gets some of the bytes across.
        let bytes = if failure.is_some() {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        if state.goes_on() {
            let content = &mut state.files[self.file].current;
            let at = position as usize;
            if content.len() < at + bytes.len() {
                content.resize(at + bytes.len(), 0);
            }
            content[at..at + bytes.len()].copy_from_slice(bytes);
        }
        failure.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let used = state.used() - state.files[self.file].current.len();
        if state.size.is_some_and(|size| used + len as usize > size) {
            return Err(Errno::NOSPC.into());
        }
        if state.goes_on() {
            state.files[self.file].current.resize(len as usize, 0);
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if state.goes_on() {
            let file = &mut state.files[self.file];
            file.current.resize(len as usize, 0);
            file.durable = file.current.clone();
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let gate = &self.disk.1;
        let mut at_gate = gate.state.lock();
        let path = self.path.to_string_lossy();
        let held = |gate: &mut GateState| gate.closed.is_some_and(|part| path.contains(part));
        if held(&mut at_gate) {
            at_gate.waiting += 1;
            gate.opened.wait_while(&mut at_gate, held);
            at_gate.waiting -= 1;
        }
        drop(at_gate);
        let mut state = self.disk.0.lock();
        if let Some(errno) = state.next_sync.take() {
            return Err(errno.into());
        }
        if state.goes_on() {
            let file = &mut state.files[self.file];
            file.durable = file.current.clone();
        }
        Ok(())
    }
}
