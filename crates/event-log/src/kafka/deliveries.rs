//! What the client library reports of the records of a transaction.
//!
//! Reports are taken by a thread of their own while a transaction is under way. The library's producer
//! waits in whole milliseconds and turns in circles for the rest, so that whoever waited there for each
//! record on its own would do nothing else.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, ProducerContext};

/// How long the reporter waits in the client at a time: how soon it notices that there is nothing more
/// to report.
const WAIT: Duration = Duration::from_millis(100);
/// Records of one transaction are below this.
const NUMBERED: usize = 1 << 32;

/// What has become of the records of the running transaction.
#[derive(Default)]
pub(super) struct Deliveries {
    running: Mutex<Running>,
    complete: Condvar,
}

#[derive(Default)]
struct Running {
    /// Which transaction: a report of an earlier one may still arrive.
    number: usize,
    results: Vec<Option<Result<i64, KafkaError>>>,
    /// Results that are not there yet.
    left: usize,
}

impl Deliveries {
    /// Begins with the next transaction, of so many records. Returns the number of the first.
    pub(super) fn expect(&self, count: usize) -> usize {
        let mut running = self.running.lock();
        running.number += 1;
        running.results = vec![None; count];
        running.left = count;
        running.number * NUMBERED
    }

    /// Waits until every record has been reported. Returns each one's offset or error, in order, and
    /// `None` for those that were not within `patience`.
    pub(super) fn wait(&self, patience: Duration) -> Vec<Option<Result<i64, KafkaError>>> {
        let mut running = self.running.lock();
        self.complete
            .wait_while_for(&mut running, |running| running.left > 0, patience);
        std::mem::take(&mut running.results)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivery: &DeliveryResult<'_>, at: usize) {
        let result = match delivery {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        let mut running = self.running.lock();
        if at / NUMBERED != running.number {
            return;
        }
        if let Some(slot @ None) = running.results.get_mut(at % NUMBERED) {
            *slot = Some(result);
            running.left -= 1;
        }
        if running.left == 0 {
            self.complete.notify_all();
        }
    }
}

/// The thread that takes reports. Dropping it ends it.
pub(super) struct Reporter {
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Gate {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Rest,
    Reports,
    End,
}

/// Reports are taken until this is dropped.
pub(super) struct Reporting<'a>(&'a Gate);

impl Reporter {
    pub(super) fn start(producer: Arc<BaseProducer<Deliveries>>) -> Self {
        let gate = Arc::<Gate>::default();
        let of = Arc::clone(&gate);
        let thread = std::thread::Builder::new().name("log-reports".to_owned());
        let thread = thread.spawn(move || {
            while of.is_open() {
                producer.poll(WAIT);
            }
        });
        if let Err(error) = &thread {
            tracing::error!(%error, "nobody takes reports of what is written");
        }
        Self {
            gate,
            thread: thread.ok(),
        }
    }

    /// Has reports taken from now on.
    pub(super) fn report(&self) -> Reporting<'_> {
        self.gate.turn(Wanted::Reports);
        Reporting(&self.gate)
    }
}

impl Gate {
    fn turn(&self, wanted: Wanted) {
        *self.wanted.lock() = wanted;
        self.changed.notify_all();
    }

    /// Waits until reports are wanted; `false` at the end.
    fn is_open(&self) -> bool {
        let mut wanted = self.wanted.lock();
        self.changed
            .wait_while(&mut wanted, |wanted| *wanted == Wanted::Rest);
        *wanted == Wanted::Reports
    }
}

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        self.0.turn(Wanted::Rest);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.gate.turn(Wanted::End);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}
