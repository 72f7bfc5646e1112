//! How much memory a thread holds, so that what a peer makes a server hold can be told.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts for each thread. Programs that run targets have it as theirs;
/// without it nothing is counted.
#[derive(Debug)]
pub struct Counted;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The most bytes that this thread holds while `act` runs, beyond what it held before.
pub(crate) fn most_held<T>(act: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let acted = act();
    (acted, usize::try_from(MOST.get() - before).unwrap_or(0))
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

const fn signed(bytes: usize) -> isize {
    // No layout is larger than `isize::MAX`.
    bytes.cast_signed()
}

#[expect(
    unsafe_code,
    reason = "an allocator is; every call is the system's own"
)]
// SAFETY: memory comes from the system's allocator and goes back to it, with the same layouts. Counting
// allocates nothing: the cells are constants without destructors.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The system may need both for a moment.
        count(signed(size));
        count(-signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(memory, layout, size) }
    }
}
