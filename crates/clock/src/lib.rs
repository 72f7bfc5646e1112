//! Time as a parameter.
//!
//! Every crate that needs the time is handed a [`Clock`]; only [`SystemClock`] asks the machine.
//! Wall time ([`Timestamp`]) names moments for people and protocols and may jump; monotonic time
//! ([`Monotonic`]) measures durations and never goes back. A bill is a difference of monotonic
//! readings, never of wall ones.
//!
//! This crate knows nothing of timers: waiting belongs to the runtime.

mod manual;
mod system;
mod timestamp;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub use manual::ManualClock;
pub use system::SystemClock;
pub use timestamp::Timestamp;

/// Where the time comes from.
pub trait Clock: Debug + Send + Sync {
    /// The wall time. May jump in either direction.
    fn now(&self) -> Timestamp;

    /// The monotonic time, for differences within one process.
    fn monotonic(&self) -> Monotonic;
}

/// A clock that many parts share.
pub type SharedClock = Arc<dyn Clock>;

/// A monotonic reading: time since an origin that one clock fixes for its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// A reading `elapsed` after the clock's origin.
    #[must_use]
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time from `earlier` to this reading, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
