//! Saying aloud that the server keeps too much for us, and that it has stopped keeping.

use event::SourceId;

/// Raised once when a bound is passed, and again only after it was kept in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alarm {
    budget: u64,
    raised: Raised,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raised {
    No,
    Yes,
}

/// Why changes were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Gap {
    #[error("the slot is gone")]
    SlotMissing,
    #[error("the server has removed log that the slot had not read")]
    SlotLost,
    #[error("the slot was made anew or moved by somebody else")]
    SlotMoved,
    #[error("the address leads to another database cluster")]
    OtherCluster,
    #[error("the server has gone back to before what was read")]
    WentBack,
}

impl Alarm {
    pub(super) const fn new(budget: u64) -> Self {
        Self {
            budget,
            raised: Raised::No,
        }
    }

    /// So many bytes of log were sent or are waiting, and not acknowledged.
    pub(super) fn behind(&mut self, source: &SourceId, bytes: u64) {
        gauge("tidemill_table_stream_behind_bytes", source, bytes);
        self.weigh(source, bytes);
    }

    /// The server keeps so many bytes of log for the slot.
    pub(super) fn retained(&mut self, source: &SourceId, bytes: u64) {
        gauge("tidemill_table_stream_retained_bytes", source, bytes);
        self.weigh(source, bytes);
    }

    fn weigh(&mut self, source: &SourceId, bytes: u64) {
        if bytes > self.budget && self.raised == Raised::No {
            self.raised = Raised::Yes;
            metrics::counter!("tidemill_table_stream_budget_exceeded_total", "source" => source.to_string())
                .increment(1);
            tracing::error!(
                %source,
                bytes,
                budget = self.budget,
                "the database keeps more log for this slot than it was allowed; its disk may fill"
            );
        }
        // Half of it, so that a value around the bound is one alarm.
        if bytes < self.budget / 2 {
            self.raised = Raised::No;
        }
    }
}

/// Announces lost changes in metrics and log; the tables' topics get records of their own.
pub(super) fn announce(source: &SourceId, gap: Gap) {
    metrics::counter!("tidemill_connector_gaps_total", "source" => source.to_string()).increment(1);
    tracing::error!(
        %source,
        reason = %gap,
        "changes may have been lost; every table is read again from its beginning"
    );
}

fn gauge(name: &'static str, source: &SourceId, bytes: u64) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a double; logs beyond 2^53 bytes do not occur"
    )]
    metrics::gauge!(name, "source" => source.to_string()).set(bytes as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_raised_once_until_the_bound_was_kept() {
        let source = SourceId::new("/tables/shop");
        let mut alarm = Alarm::new(100);
        let mut raised = |bytes| {
            alarm.retained(&source, bytes);
            alarm.raised == Raised::Yes
        };
        assert_eq!(
            [50, 101, 99, 300, 49, 101].map(&mut raised),
            [false, true, true, true, false, true]
        );
    }
}
