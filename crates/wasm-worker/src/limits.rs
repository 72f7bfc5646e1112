//! What an instance may have of memory, and what all have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::engine::TABLE_ELEMENTS;

/// What is left of the memory for all instances, in bytes.
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
    refusal: Option<Refusal>,
}

impl Limits {
    /// At most `most` bytes of linear memory, out of `budget`.
    pub(crate) fn new(most: u64, budget: Budget) -> Self {
        Self {
            most,
            used: 0,
            budget,
            refusal: None,
        }
    }

    /// What it has, in bytes, which is the most it has had: linear memory does not shrink.
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
        if !self.budget.take(more) {
            return Err(Refusal::Crowded);
        }
        self.used += more;
        Ok(())
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
        self.refusal = grown.err().or(self.refusal);
        Ok(grown.is_ok())
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The module's own maximum is its own affair; a refusal of ours is noted already.
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.budget.give_back(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_gets_what_its_function_may_have_while_there_is_some() {
        let budget = Budget::of(100);
        let mut one = Limits::new(60, budget.clone());
        assert!(one.memory_growing(0, 60, None).unwrap());
        assert!(!one.memory_growing(60, 61, None).unwrap());
        assert_eq!(one.refusal(), Some(Refusal::Limit));
        let mut other = Limits::new(60, budget);
        assert!(!other.memory_growing(0, 50, None).unwrap());
        assert_eq!(other.refusal(), Some(Refusal::Crowded));
        drop(one);
        assert!(other.memory_growing(0, 50, None).unwrap());
        assert_eq!(other.used(), 50);
    }
}
