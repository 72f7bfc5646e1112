//! Connections whose clients have not yet said who they are.
//!
//! They cost nothing to open, so they get a part of all connections only, and when that is full, the
//! one that has been silent the longest makes room for the next: who knows the login needs
//! milliseconds, and so gets in while somebody else holds every place that there is for strangers.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::meter;

/// One connection of so many may be a stranger's.
const PART: usize = 4;

/// The connections of strangers, oldest first.
#[derive(Debug)]
pub(crate) struct Strangers {
    most: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    gone: BTreeMap<u64, CancellationToken>,
}

/// A stranger's place; dropped when it is known or gone.
#[derive(Debug)]
pub(crate) struct Stranger {
    among: Arc<Strangers>,
    number: u64,
}

impl Strangers {
    /// For a port that serves so many connections at once.
    pub(crate) fn among(max_connections: usize) -> Arc<Self> {
        Arc::new(Self {
            most: (max_connections / PART).max(1),
            waiting: Mutex::default(),
        })
    }

    /// Gives a place to one more; `gone` ends its connection should the place be needed.
    pub(crate) fn admit(self: &Arc<Self>, gone: CancellationToken) -> Stranger {
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.gone.insert(number, gone);
        if waiting.gone.len() > self.most
            && let Some((_, oldest)) = waiting.gone.pop_first()
        {
            meter::closed("crowded_out");
            oldest.cancel();
        }
        Stranger {
            among: Arc::clone(self),
            number,
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.among.waiting.lock().gone.remove(&self.number);
    }
}
