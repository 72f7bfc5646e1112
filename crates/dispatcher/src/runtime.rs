//! The runtime around the pure schedule: reads topics, flies batches, settles what has ended.
//!
//! One task per partition of each enabled trigger, and of the queue of asynchronous invocations. It
//! owns everything that it starts; nothing polls and nothing sleeps but until a deadline that the
//! schedule named.

mod dead_letter;
mod feed;
mod flight;
mod partition;
mod reading;
mod settling;
mod shelf;
mod status;
mod supervisor;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use event_log::Writer;

use crate::{Invoker, InvokerParts, Payloads};

pub use status::{DispatcherStatus, TriggerStatus};
pub use supervisor::{Dispatcher, DispatcherParts};

/// What all partitions have in common.
#[derive(Debug)]
struct Shared {
    invoker: Arc<Invoker>,
    payloads: Arc<dyn Payloads>,
    /// Under which epoch everything is settled (L3).
    writer: Writer,
    status: DispatcherStatus,
    /// Bytes of records that all partitions hold in memory.
    held: AtomicUsize,
}

impl Shared {
    fn parts(&self) -> &InvokerParts {
        self.invoker.parts()
    }
}
