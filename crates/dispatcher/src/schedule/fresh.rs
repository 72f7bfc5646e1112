//! Events that have arrived and were not tried yet, in lanes.
//!
//! Events of one lane keep their order: while one of them is somewhere else (in flight, waiting
//! for a retry) the lane is held and none of the others is handed out. Events without a lane never
//! wait for each other. Events whose target has enough in hand are parked until it has not, so that
//! those behind them are reached.

use std::collections::{BTreeMap, VecDeque};

use clock::Timestamp;
use event_log::Offset;

use super::batch::{Item, Lane, Target};

#[derive(Clone, Debug, Default)]
pub(crate) struct Fresh {
    lanes: BTreeMap<Lane, VecDeque<Item>>,
    held: BTreeMap<Lane, usize>,
    /// What may be handed out next, by offset.
    ready: BTreeMap<u64, Ready>,
    /// What is passed over, by offset; no target without an event.
    parked: BTreeMap<Target, BTreeMap<u64, Item>>,
    parked_len: usize,
    /// Events at hand that are not parked.
    len: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Ready {
    /// An event without a lane.
    Alone(Item),
    /// The first event of this lane.
    First(Lane),
}

/// Events for one batch.
#[derive(Debug)]
pub(crate) struct Taken {
    /// In order of their offsets; their lanes are held once for each.
    pub(crate) items: Vec<Item>,
    /// Whether nothing more would have fitted.
    pub(crate) full: bool,
}

impl Fresh {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all events at hand.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event above all those of its lane.
    pub(crate) fn push(&mut self, item: Item) {
        self.len += 1;
        self.bytes += item.bytes;
        let Some(lane) = item.lane else {
            self.ready.insert(item.offset.get(), Ready::Alone(item));
            return;
        };
        let queue = self.lanes.entry(lane).or_default();
        if queue.is_empty() && !self.held.contains_key(&lane) {
            self.ready.insert(item.offset.get(), Ready::First(lane));
        }
        queue.push_back(item);
    }

    /// When the event that comes next arrived.
    pub(crate) fn next_received(&self) -> Option<Timestamp> {
        self.ready
            .values()
            .next()
            .map(|ready| self.item(ready).received)
    }

    /// The target of the event that comes next.
    pub(crate) fn next_target(&self) -> Option<Target> {
        let ready = self.ready.values().next()?;
        self.item(ready).target
    }

    /// Events that are parked.
    pub(crate) fn parked_len(&self) -> usize {
        self.parked_len
    }

    /// The targets of parked events.
    pub(crate) fn parked_targets(&self) -> impl Iterator<Item = Target> + '_ {
        self.parked.keys().copied()
    }

    /// Passes over the event that comes next, if it has a target and no lane. Says which it was.
    pub(crate) fn park(&mut self) -> Option<Offset> {
        let next = self.ready.first_entry()?;
        let Ready::Alone(item) = *next.get() else {
            return None;
        };
        let target = item.target?;
        next.remove();
        self.len -= 1;
        self.bytes -= item.bytes;
        self.parked_len += 1;
        let parked = self.parked.entry(target).or_default();
        parked.insert(item.offset.get(), item);
        Some(item.offset)
    }

    /// Lets the first parked events of a target come next again, so many at most.
    pub(crate) fn unpark(&mut self, target: Target, most: usize) {
        let Some(parked) = self.parked.get_mut(&target) else {
            return;
        };
        for _ in 0..most {
            let Some((offset, item)) = parked.pop_first() else {
                break;
            };
            self.parked_len -= 1;
            self.len += 1;
            self.bytes += item.bytes;
            self.ready.insert(offset, Ready::Alone(item));
        }
        if parked.is_empty() {
            self.parked.remove(&target);
        }
    }

    /// Hands out the next batch.
    pub(crate) fn take(&mut self, max_items: usize, max_bytes: usize) -> Taken {
        let mut items: Vec<Item> = Vec::new();
        let mut bytes = 0usize;
        let mut full = false;
        while let Some(ready) = self.ready.values().next() {
            let size = self.item(ready).bytes;
            let fits = items.len() < max_items && bytes.saturating_add(size) <= max_bytes;
            if !items.is_empty() && !fits {
                full = true;
                break;
            }
            bytes = bytes.saturating_add(size);
            items.extend(self.pop());
        }
        full |= items.len() >= max_items || bytes >= max_bytes;
        for lane in items.iter().filter_map(|item| item.lane) {
            self.hold(lane);
        }
        self.len -= items.len();
        self.bytes -= bytes_of(&items);
        Taken { items, full }
    }

    /// Takes back what [`take`](Self::take) handed out.
    pub(crate) fn put_back(&mut self, items: Vec<Item>) {
        self.len += items.len();
        self.bytes += bytes_of(&items);
        for item in items.into_iter().rev() {
            match item.lane {
                None => drop(self.ready.insert(item.offset.get(), Ready::Alone(item))),
                Some(lane) => {
                    self.lanes.entry(lane).or_default().push_front(item);
                    self.release(lane);
                }
            }
        }
    }

    /// One more event of the lane is somewhere else.
    pub(crate) fn hold(&mut self, lane: Lane) {
        let holds = self.held.entry(lane).or_default();
        *holds += 1;
        if *holds == 1
            && let Some(first) = self.lanes.get(&lane).and_then(VecDeque::front)
        {
            self.ready.remove(&first.offset.get());
        }
    }

    /// One event of the lane that was somewhere else is finished.
    pub(crate) fn release(&mut self, lane: Lane) {
        let Some(holds) = self.held.get_mut(&lane) else {
            return;
        };
        *holds -= 1;
        if *holds > 0 {
            return;
        }
        self.held.remove(&lane);
        if let Some(first) = self.lanes.get(&lane).and_then(VecDeque::front) {
            self.ready.insert(first.offset.get(), Ready::First(lane));
        }
    }

    fn item<'a>(&'a self, ready: &'a Ready) -> &'a Item {
        match ready {
            Ready::Alone(item) => item,
            Ready::First(lane) => self
                .lanes
                .get(lane)
                .and_then(VecDeque::front)
                .expect("a ready lane has a first event"),
        }
    }

    /// Takes the next event; the one behind it in its lane may follow into the same batch.
    fn pop(&mut self) -> Option<Item> {
        let (_, ready) = self.ready.pop_first()?;
        match ready {
            Ready::Alone(item) => Some(item),
            Ready::First(lane) => {
                let queue = self.lanes.get_mut(&lane)?;
                let item = queue.pop_front();
                match queue.front() {
                    Some(following) => {
                        let offset = following.offset.get();
                        self.ready.insert(offset, Ready::First(lane));
                    }
                    None => drop(self.lanes.remove(&lane)),
                }
                item
            }
        }
    }
}

fn bytes_of(items: &[Item]) -> usize {
    items.iter().map(|item| item.bytes).sum()
}
