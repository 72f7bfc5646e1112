//! Which offsets are finished.

use std::collections::BTreeMap;
use std::ops::Range;

use event_log::Offset;

/// The lowest unfinished offset and what is finished above it (invariant D1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    next: u64,
    /// Disjoint ranges above `next`, from → to, none adjacent to another or to `next`.
    above: BTreeMap<u64, u64>,
}

impl Progress {
    /// Progress as a checkpoint shows it.
    pub(crate) fn resume(next: Offset, finished_above: &[Range<Offset>]) -> Self {
        let mut progress = Self {
            next: next.get(),
            above: BTreeMap::new(),
        };
        for range in finished_above {
            progress.finish(range.start.get()..range.end.get());
        }
        progress
    }

    /// The lowest unfinished offset.
    pub(crate) fn next(&self) -> Offset {
        Offset::new(self.next)
    }

    /// What is finished above [`next`](Self::next), as a checkpoint wants it.
    pub(crate) fn finished_above(&self) -> Vec<Range<Offset>> {
        self.above
            .iter()
            .map(|(from, to)| Offset::new(*from)..Offset::new(*to))
            .collect()
    }

    /// Whether `offset` is finished.
    pub(crate) fn is_finished(&self, offset: Offset) -> bool {
        let offset = offset.get();
        let below = self.above.range(..=offset).next_back();
        offset < self.next || below.is_some_and(|(_, to)| offset < *to)
    }

    /// The first unfinished offset of a range.
    pub(crate) fn first_unfinished(&self, range: Range<u64>) -> Option<u64> {
        let mut from = range.start.max(self.next);
        if let Some((_, to)) = self.above.range(..=from).next_back() {
            from = from.max(*to);
        }
        (from < range.end).then_some(from)
    }

    /// Marks offsets as finished; marking one twice changes nothing.
    pub(crate) fn finish(&mut self, range: Range<u64>) {
        let (mut from, mut to) = (range.start.max(self.next), range.end);
        if from >= to {
            return;
        }
        if let Some((before, end)) = self.above.range(..=from).next_back()
            && *end >= from
        {
            (from, to) = (*before, to.max(*end));
        }
        while let Some((start, end)) = self.above.range(from..=to).next() {
            let (start, end) = (*start, *end);
            to = to.max(end);
            self.above.remove(&start);
        }
        if from <= self.next {
            self.next = to;
        } else {
            self.above.insert(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn progress_is_the_set_of_finished_offsets(
            ranges in proptest::collection::vec((0u64..40, 1u64..6), 0..30),
        ) {
            let mut progress = Progress::default();
            let mut model = BTreeSet::new();
            for (from, len) in ranges {
                progress.finish(from..from + len);
                model.extend(from..from + len);
                let next = (0..).find(|offset| !model.contains(offset)).unwrap();
                prop_assert_eq!(progress.next().get(), next);
                for offset in 0..50 {
                    prop_assert_eq!(progress.is_finished(Offset::new(offset)), model.contains(&offset));
                    let first = (offset..50).find(|offset| !model.contains(offset));
                    prop_assert_eq!(progress.first_unfinished(offset..50), first.filter(|_| offset < 50));
                }
                let above = progress.finished_above();
                prop_assert!(above.iter().all(|range| range.start < range.end && range.start > progress.next()));
                prop_assert!(above.windows(2).all(|pair| pair[0].end < pair[1].start));
                let again = Progress::resume(progress.next(), &above);
                prop_assert_eq!(&again, &progress);
            }
        }
    }
}
