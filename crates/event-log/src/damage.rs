//! How far damage in the log reaches: what a reader needs that goes on behind it.

use crate::{Error, EventLog, Offset, TopicPartition};

/// Where the damage ends that a read at `from` met, at most `end`: the first offset whose read does
/// not meet the same. A damage covers its offsets without a gap, so that halving finds its end.
pub async fn end_of_damage(
    log: &dyn EventLog,
    partition: &TopicPartition,
    from: Offset,
    end: Offset,
    damage: &Error,
) -> Offset {
    let (mut damaged, mut beyond, mut step) = (from, end, 1);
    while damaged.next() < beyond {
        // Most damage is one batch: look close by first.
        let middle = u64::midpoint(damaged.get(), beyond.get());
        let probe = damaged.plus(step).min(Offset::new(middle));
        let found = log.read(partition, probe, 1).await;
        if found.is_err_and(|error| is_same(&error, damage)) {
            damaged = probe;
            step = step.saturating_mul(2);
        } else {
            beyond = probe;
        }
    }
    beyond
}

fn is_same(one: &Error, other: &Error) -> bool {
    let (
        Error::Corrupt { file, position, .. },
        Error::Corrupt {
            file: other_file,
            position: other_position,
            ..
        },
    ) = (one, other)
    else {
        return false;
    };
    (file, position) == (other_file, other_position)
}
