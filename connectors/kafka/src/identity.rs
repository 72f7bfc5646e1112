//! Which topic a client reads: one that was deleted and made anew under its name has another id.
//!
//! The client follows the name. It notices that the id has changed, fetches from the new topic at the
//! offset that it had reached in the old one, and says so only in the log that it keeps for its
//! developers. The line is written before the first record of the new topic is asked for, and comes by the
//! queue that records come by; so whatever was handed over before it is of the topic before. Tests hold
//! the client to the words. Clusters without ids, which Kafka has had since 2.8, are told apart when a
//! partition is opened, by the last record.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// An id of zeros: none.
const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// What a client has heard of its topic's identity.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    id: Mutex<Option<String>>,
    changed: AtomicBool,
    /// Told when it has changed.
    change: Notify,
}

impl Identity {
    /// Takes a line of the client's log.
    pub(crate) fn hear(&self, topic: &str, line: &str) {
        let Some((was, is)) = change(topic, line) else {
            return;
        };
        let mut id = self.id.lock();
        // The client may begin to know the topic more than once.
        match id.as_deref() {
            None if was == NONE => *id = Some(is.to_owned()),
            Some(known) if was == NONE && known == is => {}
            Some(_) | None => {
                self.changed.store(true, Ordering::Relaxed);
                self.change.notify_one();
            }
        }
    }

    /// The topic's id when the client first saw it, if it has one.
    pub(crate) fn id(&self) -> Option<String> {
        self.id.lock().clone()
    }

    /// Whether the topic is another by now.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Waits until it is. May be dropped.
    pub(crate) async fn change(&self) {
        while !self.has_changed() {
            self.change.notified().await;
        }
    }
}

/// The ids before and after of a line that tells of a change.
fn change<'a>(topic: &str, line: &'a str) -> Option<(&'a str, &'a str)> {
    let (before, ids) = line.split_once(" changed id from ")?;
    let named = before.rsplit_once("Topic ")?.1;
    let (was, is) = ids.split_once(" to ")?;
    (named == topic).then_some((was, is.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "[thrd:main]: Topic orders changed id from 1ZGz_x to y-2";

    #[test]
    fn only_changes_of_this_topic_count() {
        assert_eq!(change("orders", LINE), Some(("1ZGz_x", "y-2")));
        assert_eq!(change("order", LINE), None);
        assert_eq!(change("orders", "Topic orders [0] Leader 1 Epoch 3"), None);
    }

    #[tokio::test]
    async fn the_first_id_is_no_change() {
        let identity = Identity::default();
        identity.hear(
            "orders",
            &format!("Topic orders changed id from {NONE} to a"),
        );
        assert!(!identity.has_changed());
        identity.hear(
            "orders",
            &format!("Topic orders changed id from {NONE} to a"),
        );
        assert!(!identity.has_changed());
        identity.hear("orders", "Topic orders changed id from a to b");
        identity.change().await;
        assert_eq!(identity.id().as_deref(), Some("a"));
    }

    #[test]
    fn another_id_than_the_first_is_a_change_however_it_is_told() {
        let identity = Identity::default();
        for (id, changed) in [("a", false), ("b", true)] {
            identity.hear(
                "orders",
                &format!("Topic orders changed id from {NONE} to {id}"),
            );
            assert_eq!(identity.has_changed(), changed);
        }
    }
}
