//! Who runs what, and for how long at a time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Handle, Runtime};

/// How far the slow lane stands back behind the fast ones: half of all that can be had.
const NICE: i32 = 10;

/// An invocation on its way.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The lanes of a worker: a fast one for each processor, and a slow one.
pub(crate) struct Lanes {
    queue: Arc<Queue>,
    slow: Runtime,
}

/// Bounded by what the server sends before it has heard of ends.
#[derive(Default)]
struct Queue {
    tasks: Mutex<VecDeque<Task>>,
    more: Condvar,
}

impl Lanes {
    /// Starts the threads.
    pub(crate) fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism()?.get();
        let slow = Builder::new_multi_thread()
            .worker_threads(processors)
            // Between any two turns timers are looked at: by default a sleeper that is due waits for
            // sixty turns of those that calculate.
            .event_interval(1)
            .enable_time()
            .thread_name("slow-lane")
            .on_thread_start(|| {
                // Without it lanes are equals: slower, not wrong.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .build()?;
        let queue = Arc::new(Queue::default());
        for _ in 0..processors {
            let (queue, slow) = (Arc::clone(&queue), slow.handle().clone());
            thread::Builder::new()
                .name("fast-lane".to_owned())
                .spawn(move || queue.work(&slow))?;
        }
        Ok(Self { queue, slow })
    }

    /// Has a task run: for one turn on a fast lane, then on the slow one.
    pub(crate) fn run(&self, task: Task) {
        self.queue.tasks.lock().push_back(task);
        self.queue.more.notify_one();
    }

    /// Has something done that blocks.
    pub(crate) fn block(&self, work: impl FnOnce() + Send + 'static) {
        self.slow.spawn_blocking(work);
    }
}

impl Queue {
    fn work(&self, slow: &Handle) {
        // For the timers of what waits in its first turn.
        let _slow = slow.enter();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut task = self.next();
            // Whoever would be woken is polled anew anyway.
            if task.as_mut().poll(&mut context).is_pending() {
                slow.spawn(task);
            }
        }
    }

    fn next(&self) -> Task {
        let mut tasks = self.tasks.lock();
        loop {
            if let Some(task) = tasks.pop_front() {
                return task;
            }
            self.more.wait(&mut tasks);
        }
    }
}
