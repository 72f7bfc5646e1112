//! How invocations end that are not let be, by components: modules are ended by the same means.

use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;

use clock::SystemClock;
use wasmtime::Engine;

use super::*;
use crate::binary::Binary;
use crate::component::texts::{self, CLOCKS, CLOCKS_IMPORTED, NOTHING};
use crate::entry::Imports;
use crate::replies::Replies;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

/// A command with this body, which may block for what it subscribes to.
fn command(body: &str) -> String {
    let module = format!("{CLOCKS_IMPORTED} (memory 1)");
    texts::command(CLOCKS, &module, &format!("{body} i32.const 0"))
}

fn waits(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    command(&format!(
        "(call $block (call $subscribe (i64.const {nanoseconds})))"
    ))
}

/// What invocations run on, and what they report to.
struct Place {
    ground: Ground,
    replies: Arc<Replies>,
    _server: UnixStream,
}

impl Place {
    fn new(engine: &Engine) -> Self {
        Self::of(engine, 1 << 30)
    }

    /// With so many bytes for all instances.
    fn of(engine: &Engine, memory: u64) -> Self {
        let (server, worker) = UnixStream::pair().unwrap();
        Self {
            ground: Ground {
                engine: engine.clone(),
                budget: Budget::of(memory),
                ticker: Ticker::start(engine.clone()).unwrap(),
                clock: Arc::new(SystemClock::new()),
            },
            replies: Arc::new(Replies::new(worker)),
            _server: server,
        }
    }

    /// Has a component run with a page of memory and a half, and no longer than `timeout`.
    fn start(&self, text: &str, timeout: Duration) -> Invocation {
        let engine = &self.ground.engine;
        let binary = Binary::compile(engine, &wat::parse_str(text).unwrap()).unwrap();
        let program = Program {
            entry: Imports::new(engine).unwrap().entry(&binary).unwrap(),
            memory: 100_000,
            timeout,
            environment: Vec::new(),
        };
        Invocation {
            id: 1,
            program: Arc::new(program),
            environment: Vec::new(),
            event: Bytes::new(),
            log: Log::new(1, Arc::clone(&self.replies)),
            cancelled: CancellationToken::new(),
        }
    }

    /// How it ends, as on the lanes: once it is pending it is polled again, unasked.
    async fn end(&self, invocation: Invocation) -> Option<Ending> {
        let mut run = Box::pin(invocation.run(self.ground.clone()));
        let first = poll_fn(|context| Poll::Ready(run.as_mut().poll(context))).await;
        let report = match first {
            Poll::Ready(report) => report,
            Poll::Pending => run.await,
        };
        report.map(|report| match report {
            Report::Done { ending, .. } => ending,
            other => panic!("{other:?}"),
        })
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| crate::engine::new(16).unwrap());

async fn end(text: &str, timeout: Duration) -> Ending {
    let place = Place::new(&ENGINE);
    place.end(place.start(text, timeout)).await.unwrap()
}

#[tokio::test]
async fn a_component_that_waits_or_calculates_for_too_long_is_ended_in_time() {
    assert_eq!(end(&waits(SHORT), LONG).await, Ending::Exit(0));
    assert_eq!(end(&waits(LONG), SHORT).await, Ending::Timeout);
    let spins = command("(loop $again (br $again))");
    assert_eq!(end(&spins, SHORT).await, Ending::Timeout);
    // One call of the host's after the other, none of which takes any time.
    let calls = command(
        "(loop $again
           (local.set $it (call $subscribe (i64.const 0)))
           (call $block (local.get $it))
           (call $drop (local.get $it))
           (br $again))",
    );
    assert_eq!(end(&calls, SHORT).await, Ending::Timeout);
}

#[tokio::test]
async fn a_component_whose_caller_has_gone_is_ended_while_it_waits() {
    let place = Place::new(&ENGINE);
    let invocation = place.start(&waits(LONG), LONG);
    let cancelled = invocation.cancelled.clone();
    let (ended, ()) = tokio::join!(place.end(invocation), async { cancelled.cancel() });
    assert_eq!(ended, None);
}

#[tokio::test]
async fn a_component_is_ended_by_what_it_does_and_told_so() {
    let grows =
        command("(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))");
    assert_eq!(end(&grows, LONG).await, Ending::OutOfMemory);
    let traps = command("unreachable");
    assert!(matches!(end(&traps, LONG).await, Ending::Trap(why) if why.contains("unreachable")));
    let recurses = texts::command(NOTHING, "", "(i32.add (call $run) (call $run))");
    assert!(matches!(end(&recurses, LONG).await, Ending::Trap(why) if why.contains("stack")));
    let another = command("(call $block (i32.const 77))");
    assert!(matches!(end(&another, LONG).await, Ending::Broken(why) if why.contains("77")));
}

#[tokio::test]
async fn an_instance_for_which_there_is_no_place_is_not_the_functions_fault() {
    let place = Place::new(&crate::engine::new(1).unwrap());
    let first = place.start(&waits(SHORT), LONG);
    let second = place.start(&waits(SHORT), LONG);
    let ended = tokio::join!(place.end(first), place.end(second));
    assert_eq!(ended, (Some(Ending::Exit(0)), Some(Ending::Crowded)));
    let third = place.start(&waits(SHORT), LONG);
    assert_eq!(place.end(third).await, Some(Ending::Exit(0)));
}

#[tokio::test]
async fn an_instance_for_which_there_is_no_memory_is_not_the_functions_fault() {
    const TABLE: u64 = 65_536 * 8;
    const HELD: u64 = <crate::component::Entry as Call>::HELD;
    let plain = texts::command(NOTHING, "", "i32.const 0");
    let table = texts::command(NOTHING, "(table 65536 funcref)", "i32.const 0");
    for (text, least) in [(plain, HELD), (table, HELD + TABLE)] {
        let enough = Place::of(&ENGINE, least);
        for _ in 0..2 {
            let ended = enough.end(enough.start(&text, LONG)).await;
            assert_eq!(ended, Some(Ending::Exit(0)));
        }
        let too_little = Place::of(&ENGINE, least - 1);
        let ended = too_little.end(too_little.start(&text, LONG)).await;
        assert_eq!(ended, Some(Ending::Crowded));
    }
}
