//! The engine's clock: what runs is interrupted at its ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::Engine;

/// How long a tick is. Its number is never counted as time: under load ticks come late.
const TICK: Duration = Duration::from_millis(1);

/// After so many ticks with nothing running it stands still.
const DROWSY: u32 = 50;

/// Ticks while something runs. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Ticker(Arc<Shared>);

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    /// Whether it stands still.
    still: Mutex<bool>,
    wake: Condvar,
}

/// Something that runs, until it is dropped.
pub(crate) struct Ticking(Arc<Shared>);

impl Ticker {
    /// Starts the thread, which stands still at first.
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || ticking.run(&engine))?;
        Ok(Self(shared))
    }

    /// Something starts to run.
    pub(crate) fn begin(&self) -> Ticking {
        if self.0.running.fetch_add(1, Ordering::SeqCst) == 0 && *self.0.still.lock() {
            self.0.wake.notify_one();
        }
        Ticking(Arc::clone(&self.0))
    }
}

impl Shared {
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine has no other clock, and this one stands still while nothing runs"
    )]
    fn run(&self, engine: &Engine) {
        let mut idle = 0;
        loop {
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else if idle < DROWSY {
                idle += 1;
            } else {
                let mut still = self.still.lock();
                *still = true;
                // Looked at again under the lock, which who begins takes after counting itself.
                while self.running.load(Ordering::SeqCst) == 0 {
                    self.wake.wait(&mut still);
                }
                *still = false;
                idle = 0;
            }
            thread::sleep(TICK);
            engine.increment_epoch();
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
