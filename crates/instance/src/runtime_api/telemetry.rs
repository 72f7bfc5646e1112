//! What extensions hear of an instance: AWS's Telemetry API, version 2022-07-01.
//!
//! An extension subscribes while the instance initialises, and from then on gets what the platform,
//! the function and extensions say, from the beginning of the initialisation, as JSON objects in the
//! order in which they were said. They wait here until they are as many, as large or as old as the
//! subscriber wishes. What a subscriber does not take in time is dropped, and it is told how much.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Bytes that are kept of an initialisation for those who may still subscribe, and the shares of its
/// limits that may wait for a subscriber: one batch on its way, and one that gathers.
const EARLY_BYTES: usize = 256 * 1024;
const BATCHES: usize = 2;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Platform,
    Function,
    Extension,
}

/// When what has gathered is handed over: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffering {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) timeout: Duration,
}

/// What an extension asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The extension's name.
    pub(crate) name: String,
    pub(crate) streams: Vec<Stream>,
    pub(crate) buffering: Buffering,
    /// Where it listens.
    pub(crate) destination: Destination,
}

/// A place on the instance's own loopback interface that takes batches by `POST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The host and the port, as the extension wrote them.
    pub(crate) authority: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

/// Subscribing is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// What one subscriber is to be handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) name: String,
    pub(crate) destination: Destination,
    /// JSON objects, at least one.
    pub(crate) events: Vec<Bytes>,
}

/// A batch did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// The subscribers of one instance and what waits for them.
pub(crate) struct Telemetry {
    state: Mutex<State>,
    changed: Notify,
    handed_over: watch::Sender<()>,
}

struct State {
    /// What was said so far; `None` when nobody may subscribe any more.
    early: Option<Early>,
    subscribers: Vec<Subscriber>,
    /// Whether a batch is on its way.
    under_way: bool,
}

#[derive(Default)]
struct Early {
    events: Vec<(Stream, Bytes)>,
    bytes: usize,
}

struct Subscriber {
    subscription: Subscription,
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// Since when something waits.
    since: Option<Instant>,
    /// Whether nothing is to gather any more.
    hurried: bool,
    dropped: Dropped,
}

#[derive(Clone, Copy, Default)]
struct Dropped {
    records: usize,
    bytes: usize,
}

impl Stream {
    pub(crate) const ALL: [Self; 3] = [Self::Platform, Self::Function, Self::Extension];

    /// Its name in requests and events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Function => "function",
            Self::Extension => "extension",
        }
    }
}

impl Default for Buffering {
    /// AWS Lambda's (developer guide, "Telemetry API reference", 2026).
    fn default() -> Self {
        Self {
            items: 10_000,
            bytes: 256 * 1024,
            timeout: Duration::from_secs(1),
        }
    }
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                early: Some(Early::default()),
                subscribers: Vec::new(),
                under_way: false,
            }),
            changed: Notify::new(),
            handed_over: watch::Sender::new(()),
        }
    }

    /// Lets an extension listen. One that asks again has what it asked for last.
    pub(crate) fn subscribe(&self, subscription: Subscription) -> Result<(), Closed> {
        let mut state = self.state.lock();
        let State {
            early, subscribers, ..
        } = &mut *state;
        let early = early.as_ref().ok_or(Closed)?;
        subscribers.retain(|known| known.subscription.name != subscription.name);
        let mut subscriber = Subscriber {
            subscription,
            waiting: VecDeque::new(),
            bytes: 0,
            since: None,
            hurried: false,
            dropped: Dropped::default(),
        };
        for (stream, event) in &early.events {
            subscriber.offer(*stream, event);
        }
        subscribers.push(subscriber);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Initialisation is over: nobody else may subscribe. Returns who has.
    pub(crate) fn close(&self) -> Vec<(String, Vec<Stream>)> {
        let mut state = self.state.lock();
        state.early = None;
        let subscriptions = state.subscribers.iter().map(|known| &known.subscription);
        subscriptions
            .map(|known| (known.name.clone(), known.streams.clone()))
            .collect()
    }

    /// Whether what is told may still be heard by somebody.
    pub(crate) fn is_heard(&self) -> bool {
        let state = self.state.lock();
        state.early.is_some() || !state.subscribers.is_empty()
    }

    /// Says something; `event` is a JSON object.
    pub(crate) fn tell(&self, stream: Stream, event: &Bytes) {
        let mut state = self.state.lock();
        let mut due = false;
        for subscriber in &mut state.subscribers {
            let before = subscriber.due();
            subscriber.offer(stream, event);
            due |= subscriber.due() != before;
        }
        if let Some(early) = &mut state.early
            && early.bytes + event.len() <= EARLY_BYTES
        {
            early.bytes += event.len();
            early.events.push((stream, event.clone()));
        }
        drop(state);
        if due {
            self.changed.notify_one();
        }
    }

    /// Has what waits, and whatever comes, handed over at once.
    pub(crate) fn hurry(&self) {
        for subscriber in &mut self.state.lock().subscribers {
            subscriber.hurried = true;
        }
        self.changed.notify_one();
    }

    /// Waits until something is to be handed over. One caller at a time. Cancel safe.
    pub(crate) async fn due(&self) {
        loop {
            let next = self.next();
            let wait = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => return,
                () = self.changed.notified() => {}
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.subscribers.iter().filter_map(Subscriber::due).min()
    }

    /// Takes what has been due for longest.
    pub(crate) fn take(&self) -> Option<Batch> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let due = state
            .subscribers
            .iter_mut()
            .filter(|known| known.due().is_some_and(|due| due <= now));
        let taken = due.min_by_key(|known| known.due()).map(Subscriber::take);
        state.under_way = taken.is_some();
        taken
    }

    /// A batch has arrived, or has not: what was dropped can be told.
    pub(crate) fn handed_over(&self, batch: &Batch, arrived: Result<(), Lost>, now: Timestamp) {
        let mut state = self.state.lock();
        state.under_way = false;
        let subscriber = state
            .subscribers
            .iter_mut()
            .find(|known| known.subscription.name == batch.name);
        if let Some(subscriber) = subscriber {
            match arrived {
                Ok(()) => subscriber.own_up(now, "the subscriber is too slow"),
                Err(Lost) => {
                    subscriber.dropped.records += batch.events.len();
                    subscriber.dropped.bytes += batch.events.iter().map(Bytes::len).sum::<usize>();
                    subscriber.own_up(now, "the subscriber did not take them");
                }
            }
        }
        drop(state);
        self.changed.notify_one();
        self.handed_over.send_replace(());
    }

    /// Waits until nothing is left to be handed over. Cancel safe.
    pub(crate) async fn drained(&self) {
        let mut handed_over = self.handed_over.subscribe();
        let drained = || {
            let state = self.state.lock();
            let mut waiting = state.subscribers.iter().map(|known| known.waiting.len());
            !state.under_way && waiting.all(|waiting| waiting == 0)
        };
        while !drained() {
            // The sender is this object's own.
            let _ = handed_over.changed().await;
        }
    }
}

impl Subscriber {
    fn offer(&mut self, stream: Stream, event: &Bytes) {
        if !self.subscription.streams.contains(&stream) {
            return;
        }
        let Buffering { items, bytes, .. } = self.subscription.buffering;
        let full = self.waiting.len() >= items * BATCHES;
        if full || self.bytes + event.len() > bytes * BATCHES {
            self.dropped.records += 1;
            self.dropped.bytes += event.len();
            return;
        }
        self.push(event.clone());
    }

    fn push(&mut self, event: Bytes) {
        self.bytes += event.len();
        self.waiting.push_back(event);
        self.since.get_or_insert_with(Instant::now);
    }

    /// When what waits is to be handed over.
    fn due(&self) -> Option<Instant> {
        let Buffering {
            items,
            bytes,
            timeout,
        } = self.subscription.buffering;
        let enough = self.waiting.len() >= items || self.bytes >= bytes;
        let wait = if enough || self.hurried {
            Duration::ZERO
        } else {
            timeout
        };
        self.since.map(|since| since + wait)
    }

    fn take(&mut self) -> Batch {
        let Buffering { items, bytes, .. } = self.subscription.buffering;
        let mut events = Vec::new();
        let mut size = 0;
        while events.len() < items
            && let Some(event) = self
                .waiting
                .pop_front_if(|event| size == 0 || size + event.len() <= bytes)
        {
            size += event.len();
            events.push(event);
        }
        self.bytes -= size;
        self.since = (!self.waiting.is_empty()).then(Instant::now);
        Batch {
            name: self.subscription.name.clone(),
            destination: self.subscription.destination.clone(),
            events,
        }
    }

    /// Tells the subscriber what it has missed. Beyond the bounds, for there is one at a time.
    fn own_up(&mut self, now: Timestamp, reason: &str) {
        let Dropped { records, bytes } = std::mem::take(&mut self.dropped);
        if records > 0 && self.subscription.streams.contains(&Stream::Platform) {
            let record =
                json!({"droppedBytes": bytes, "droppedRecords": records, "reason": reason});
            self.push(event(now, "platform.logsDropped", record));
        }
    }
}

/// An event in the form of the API's.
pub(crate) fn event(now: Timestamp, kind: &str, record: Value) -> Bytes {
    let event = json!({"time": now.to_rfc3339(), "type": kind, "record": record});
    event.to_string().into()
}

#[cfg(test)]
mod tests;
