//! What an instance may have of memory, and what all have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::engine::{KEEP_RESIDENT, TABLE_ELEMENTS};

/// An element of a table, in bytes.
const ELEMENT: usize = size_of::<usize>();

/// What is left of the memory for all instances, in bytes. What places keep when nothing runs in them is no
/// part of it, and so instances pay for no more of their memory than what is beyond that.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(crate) fn of(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    fn take(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(success, failure, take).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Why an instance did not get what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its function may not have so much.
    Limit,
    /// There is no more.
    Crowded,
}

/// One instance's memory. What it has is given back on drop.
#[derive(Debug)]
pub(crate) struct Limits {
    most: u64,
    used: u64,
    budget: Budget,
    taken: u64,
    refusal: Option<Refusal>,
}

impl Limits {
    /// At most `most` bytes of linear memory, out of `budget`.
    pub(crate) fn new(most: u64, budget: Budget) -> Self {
        Self {
            most,
            used: 0,
            budget,
            taken: 0,
            refusal: None,
        }
    }

    /// Takes what the host needs for an instance, in bytes. `false`, and a refusal, when there is no more.
    pub(crate) fn hold(&mut self, bytes: u64) -> bool {
        let taken = self.take(bytes);
        self.granted(taken)
    }

    /// What it has of linear memory, in bytes, which is the most it has had: that does not shrink.
    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    /// The last refusal, if there was one.
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    fn grow(&mut self, more: u64) -> Result<(), Refusal> {
        if self.used.saturating_add(more) > self.most {
            return Err(Refusal::Limit);
        }
        let paid = |used: u64| used.saturating_sub(KEEP_RESIDENT as u64);
        self.take(paid(self.used + more) - paid(self.used))?;
        self.used += more;
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<(), Refusal> {
        if !self.budget.take(bytes) {
            return Err(Refusal::Crowded);
        }
        self.taken += bytes;
        Ok(())
    }

    /// Whether there was no refusal. One is kept in mind.
    fn granted(&mut self, result: Result<(), Refusal>) -> bool {
        self.refusal = result.err().or(self.refusal);
        result.is_ok()
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.grow(desired.saturating_sub(current) as u64);
        Ok(self.granted(grown))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The module's own maximum is its own affair; a refusal of ours is noted already.
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            return Ok(false);
        }
        let grown = self.take((desired.saturating_sub(current) * ELEMENT) as u64);
        Ok(self.granted(grown))
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: usize = KEEP_RESIDENT;

    #[test]
    fn an_instance_gets_what_its_function_may_have_while_there_is_some() {
        let budget = Budget::of(100);
        let most = (KEPT + 60) as u64;
        let mut one = Limits::new(most, budget.clone());
        assert!(one.memory_growing(0, KEPT + 60, None).unwrap());
        assert!(!one.memory_growing(KEPT + 60, KEPT + 61, None).unwrap());
        assert_eq!(one.refusal(), Some(Refusal::Limit));
        let mut other = Limits::new(most, budget);
        assert!(!other.memory_growing(0, KEPT + 41, None).unwrap());
        assert_eq!(other.refusal(), Some(Refusal::Crowded));
        drop(one);
        assert!(other.memory_growing(0, KEPT + 41, None).unwrap());
        assert_eq!(other.used(), (KEPT + 41) as u64);
    }

    #[test]
    fn what_a_place_keeps_is_paid_for_already() {
        let mut limits = Limits::new(u64::MAX, Budget::of(1));
        assert!(limits.memory_growing(0, KEPT - 1, None).unwrap());
        assert!(limits.memory_growing(KEPT - 1, KEPT + 1, None).unwrap());
        assert!(!limits.memory_growing(KEPT + 1, KEPT + 2, None).unwrap());
    }

    #[test]
    fn tables_and_what_the_host_holds_are_paid_for_and_are_not_the_functions() {
        let budget = Budget::of(100);
        let mut one = Limits::new(0, budget.clone());
        assert!(one.hold(20));
        assert!(one.table_growing(0, 4, None).unwrap());
        assert!(one.table_growing(4, 10, None).unwrap());
        assert_eq!((one.used(), one.refusal()), (0, None));
        assert!(!one.table_growing(10, 11, None).unwrap());
        assert_eq!(one.refusal(), Some(Refusal::Crowded));
        let mut other = Limits::new(0, budget);
        assert!(!other.hold(1));
        drop(one);
        assert!(other.hold(100));
    }

    #[test]
    fn a_table_is_never_larger_than_those_of_the_pool() {
        let mut limits = Limits::new(0, Budget::of(u64::MAX));
        assert!(!limits.table_growing(0, TABLE_ELEMENTS + 1, None).unwrap());
        assert_eq!(limits.refusal(), None);
        assert!(limits.table_growing(0, TABLE_ELEMENTS, None).unwrap());
    }
}
