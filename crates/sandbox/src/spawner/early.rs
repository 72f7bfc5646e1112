//! Programs that have been started early and wait for jobs.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use parking_lot::Mutex;

use super::Slot;
use crate::Early;
use crate::wire;

/// A sandbox in which an early program runs, or is about to.
#[derive(Debug)]
pub(crate) struct EarlySlot {
    pub(crate) slot: Slot,
    /// The reading end of the pipe that is its standard output and standard error.
    pub(crate) output: OwnedFd,
}

/// All of them, by what they are. A taken one is replaced; one that has ended unnoticed is found out
/// when it is taken.
#[derive(Debug)]
pub(super) struct Stock {
    /// How many of each are to wait.
    wanted: usize,
    shelves: Mutex<HashMap<Early, Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    waiting: VecDeque<EarlySlot>,
    /// How many have been asked for and are not there yet.
    coming: usize,
}

impl EarlySlot {
    /// Has the first process start it. Returns at once: whoever takes it may find it half-way, and is
    /// still sooner ready than without it.
    pub(super) fn start(slot: Slot, early: &Early) -> io::Result<Self> {
        slot.group.limit_memory(early.program.memory)?;
        slot.group.stand_back()?;
        let (output, writer) = io::pipe()?;
        wire::send(slot.channel.as_fd(), &early.write(), &[writer.as_fd()])?;
        let output = output.into();
        Ok(Self { slot, output })
    }
}

impl Stock {
    pub(super) fn of(wanted: usize) -> Self {
        Self {
            wanted,
            shelves: Mutex::default(),
        }
    }

    /// The one that has waited longest.
    pub(super) fn take(&self, early: &Early) -> Option<EarlySlot> {
        self.shelves.lock().get_mut(early)?.waiting.pop_front()
    }

    /// How many are to be started now. They count as coming from then on.
    pub(super) fn missing(&self, early: &Early) -> usize {
        let mut shelves = self.shelves.lock();
        let shelf = shelves.entry(early.clone()).or_default();
        let missing = self
            .wanted
            .saturating_sub(shelf.waiting.len() + shelf.coming);
        shelf.coming += missing;
        missing
    }

    pub(super) fn add(&self, early: Early, started: EarlySlot) {
        let mut shelves = self.shelves.lock();
        let shelf = shelves.entry(early).or_default();
        shelf.coming -= 1;
        shelf.waiting.push_back(started);
    }

    /// Ends all that wait.
    pub(super) fn clear(&self) {
        let shelves = std::mem::take(&mut *self.shelves.lock());
        drop(shelves);
    }

    /// One that was coming will not come. The next job asks for it again.
    pub(super) fn give_up(&self, early: &Early) {
        if let Some(shelf) = self.shelves.lock().get_mut(early) {
            shelf.coming -= 1;
        }
    }
}

#[cfg(test)]
impl Stock {
    pub(super) fn until_all_speak(&self) {
        use rustix::event::{PollFd, PollFlags, poll};

        let shelves = self.shelves.lock();
        for early in shelves.values().flat_map(|shelf| &shelf.waiting) {
            let mut fds = [PollFd::from_borrowed_fd(
                early.output.as_fd(),
                PollFlags::IN,
            )];
            poll(&mut fds, None).unwrap();
        }
    }
}
