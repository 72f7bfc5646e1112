//! What somebody says has changed. It may be wrong, late, twice, or never said.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Hints that wait for their source. A key has 1,024 bytes at most, so this is a megabyte.
const WAITING: usize = 1_000;

/// A hint at a change in a watched store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Something about the object of this key. It is looked at.
    Object(String),
    /// Something. Everything is looked at as soon as may be.
    Anything,
}

/// Where hints for one source are put.
#[derive(Clone, Debug)]
pub struct Hints {
    queue: mpsc::Sender<Hint>,
    overflow: Arc<Notify>,
}

/// There is no source any more that would follow hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody follows hints")]
pub struct Unheard;

/// A queue of hints, and what a source takes from it.
#[must_use]
pub fn hint_queue() -> (Hints, BoxStream<'static, Hint>) {
    let (queue, waiting) = mpsc::channel(WAITING);
    let overflow = Arc::new(Notify::new());
    let hints = Hints {
        queue,
        overflow: Arc::clone(&overflow),
    };
    let taken = stream::unfold((waiting, overflow), |(mut waiting, overflow)| async move {
        let hint = tokio::select! {
            biased;
            hint = waiting.recv() => hint?,
            () = overflow.notified() => Hint::Anything,
        };
        Some((hint, (waiting, overflow)))
    });
    (hints, taken.boxed())
}

impl Hints {
    /// Puts a hint; never waits. Hints that find no room become one at anything.
    ///
    /// # Errors
    /// [`Unheard`] when the other end is gone.
    pub fn put(&self, hint: Hint) -> Result<(), Unheard> {
        match self.queue.try_send(hint) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.overflow.notify_one();
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(Unheard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hints_that_find_no_room_become_one_at_anything() {
        let (hints, mut taken) = hint_queue();
        let object = |number: usize| Hint::Object(number.to_string());
        for number in 0..WAITING + 3 {
            hints.put(object(number)).unwrap();
        }
        for number in 0..WAITING {
            assert_eq!(taken.next().await, Some(object(number)));
        }
        assert_eq!(taken.next().await, Some(Hint::Anything));
        hints.put(object(7)).unwrap();
        assert_eq!(taken.next().await, Some(object(7)));
        drop(taken);
        assert_eq!(hints.put(object(8)), Err(Unheard));
    }
}
