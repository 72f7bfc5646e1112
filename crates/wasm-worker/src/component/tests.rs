//! Components that say whatever they like.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proptest::prelude::*;

use super::texts::{self, CLOCKS, CLOCKS_IMPORTED, NOTHING};
use super::*;
use crate::entry::World as _;
use crate::limits::{Budget, Limits};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| crate::engine::new(16).unwrap());

/// Where the events of [`typed`] components are, and how long their memory is.
const EVENT: u32 = 1024;
const MEMORY: u64 = 65_536;

/// A typed component with this body of its function.
fn typed(body: &str) -> Vec<u8> {
    text(&texts::typed(&format!("i32.const {EVENT}"), body))
}

/// What answers with what its event says that the answer is.
fn says_its_event() -> Vec<u8> {
    typed("local.get 0")
}

/// A command with this body.
fn command(body: &str) -> Vec<u8> {
    text(&texts::command(NOTHING, "", body))
}

/// A command that succeeds, with something before its module.
fn command_with(before: &str) -> Vec<u8> {
    let host = format!("{before} {NOTHING}");
    text(&texts::command(&host, "", "i32.const 0"))
}

fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn entry(component: &[u8]) -> Result<Entry, String> {
    let component = Component::new(&ENGINE, component).map_err(|error| format!("{error:#}"))?;
    Imports::new(&ENGINE).unwrap().entry(&component)
}

/// What is wrong with it.
fn refused(component: &[u8]) -> String {
    entry(component).err().unwrap()
}

fn store(entry: &Entry, event: &[u8]) -> Store<World> {
    let world = entry.world(Given {
        event: Bytes::copy_from_slice(event),
        environment: Vec::new(),
        limits: Limits::new(u64::MAX, Budget::of(u64::MAX)),
        log: None,
    });
    let mut store = Store::new(&ENGINE, world);
    store.set_epoch_deadline(1);
    store
}

fn run(entry: &Entry, event: &[u8]) -> wasmtime::Result<(Said, Bytes)> {
    let mut store = store(entry, event);
    let said = {
        let call = entry.call(&mut store);
        ready(call)?
    };
    Ok((said, store.data_mut().take_output().1))
}

/// What comes of it, which lets others go on at most once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut poll = || {
        let mut context = Context::from_waker(Waker::noop());
        future.as_mut().poll(&mut context)
    };
    match poll() {
        Poll::Ready(value) => value,
        Poll::Pending => match poll() {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        },
    }
}

/// Why running it ended otherwise than with an answer.
fn broken(component: &[u8]) -> String {
    let ran = run(&entry(component).unwrap(), b"event");
    let broken = ran.unwrap_err().downcast::<Broken>();
    broken.unwrap().to_string()
}

/// An answer as a component says it.
fn answer(is_error: u8, at: u32, length: u32) -> Vec<u8> {
    let mut said = vec![is_error, 0, 0, 0];
    said.extend(at.to_le_bytes());
    said.extend(length.to_le_bytes());
    said
}

/// What must come of it.
fn comes_to(said: &[u8], is_error: u8, at: u32, length: u32) -> Option<(Said, Bytes)> {
    if u64::from(at) + u64::from(length) > MEMORY {
        return None;
    }
    let mut memory = vec![0; usize::try_from(MEMORY).unwrap()];
    memory[EVENT as usize..][..said.len()].copy_from_slice(said);
    let answer = Bytes::copy_from_slice(&memory[at as usize..][..length as usize]);
    match is_error {
        0 => Some((Said::Result, answer)),
        1 if str::from_utf8(&answer).is_ok() => Some((Said::Error, answer)),
        _ => None,
    }
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..40_u32,
        EVENT - 5..EVENT + 20,
        65_500..65_580_u32,
        u32::MAX - 40..=u32::MAX,
        any::<u32>(),
    ]
}

proptest! {
    #[test]
    fn whatever_a_component_answers_only_its_memory_is_read(
        is_error in 0..4_u8, at in number(), length in number(),
    ) {
        static ENTRY: LazyLock<Entry> = LazyLock::new(|| entry(&says_its_event()).unwrap());
        let said = answer(is_error, at, length);
        let came = run(&ENTRY, &said).map_err(|error| error.downcast::<Broken>().unwrap());
        prop_assert_eq!(came.ok(), comes_to(&said, is_error, at, length));
    }
}

#[test]
fn an_answer_is_a_result_or_an_error() {
    let entry = entry(&says_its_event()).unwrap();
    let mut event = answer(0, EVENT + 12, 5);
    event.extend(b"hello");
    assert_eq!(run(&entry, &event).unwrap(), (Said::Result, "hello".into()));
    event[0] = 1;
    assert_eq!(run(&entry, &event).unwrap(), (Said::Error, "hello".into()));
}

#[test]
fn a_command_succeeds_or_exits_with_one() {
    let good = entry(&command("i32.const 0")).unwrap();
    assert_eq!(run(&good, b"").unwrap(), (Said::Result, Bytes::new()));
    let bad = entry(&command("i32.const 1")).unwrap();
    let exit = run(&bad, b"").unwrap_err().downcast::<Exit>().unwrap();
    assert_eq!(exit.0, 1);
}

#[test]
fn a_component_that_cannot_be_a_function_is_refused_with_the_reason() {
    let neither = refused(&text("(component)"));
    assert!(
        neither.contains("wasi:cli/run") && neither.contains("handle"),
        "{neither}"
    );
    let no_function = refused(&text(
        r#"(component (instance $it) (export "handle" (instance $it)))"#,
    ));
    assert!(no_function.contains(HANDLE_TYPE), "{no_function}");
    let other = refused(&text(
        r#"(component
          (core module $module (func (export "handle") (param i32) (result i32) local.get 0))
          (core instance $instance (instantiate $module))
          (func $handle (param "event" u32) (result u32) (canon lift (core func $instance "handle")))
          (export "handle" (func $handle)))"#,
    ));
    assert!(other.contains(HANDLE_TYPE), "{other}");
    let later = text(r#"(component (instance $it) (export "wasi:cli/run@0.3.0" (instance $it)))"#);
    assert!(refused(&later).contains("neither a WASI command"));
    let empty = text(r#"(component (instance $it) (export "wasi:cli/run@0.2.0" (instance $it)))"#);
    assert!(refused(&empty).contains("not a WASI command"));
    let http =
        r#"(import "wasi:http/types@0.2.0" (instance (export "fields" (type (sub resource)))))"#;
    let importing = refused(&command_with(http));
    assert!(
        importing.contains("wasi:http/types@0.2.0") && importing.contains("wasi:cli/imports"),
        "{importing}"
    );
}

#[test]
fn a_component_of_more_than_the_pool_has_is_refused_as_it_is_compiled() {
    let consists_of = |module: &str, count: usize| {
        let instances = "(core instance (instantiate $part))".repeat(count);
        command_with(&format!("(core module $part {module}) {instances}"))
    };
    assert!(entry(&consists_of("(memory 1)", 1)).is_ok());
    let memories = refused(&consists_of("(memory 1)", 2));
    assert!(memories.contains("2 Wasm linear memories"), "{memories}");
    // One of them is the command's.
    assert!(entry(&consists_of("", 31)).is_ok());
    let modules = refused(&consists_of("", 32));
    assert!(modules.contains("33 core module instances"), "{modules}");
    assert!(entry(&consists_of("(table 1 funcref)", 8)).is_ok());
    let tables = refused(&consists_of("(table 1 funcref)", 9));
    assert!(tables.contains("9 tables"), "{tables}");
}

#[test]
fn no_more_is_copied_out_of_a_component_than_there_is_room_for() {
    let pages = ANSWERED / 65_536 + 1;
    let says = |length: usize| {
        typed(&format!(
            "(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))
             (i32.store8 (i32.const 0) (i32.const 0))
             (i32.store (i32.const 4) (i32.const 0))
             (i32.store (i32.const 8) (i32.const {length}))
             i32.const 0"
        ))
    };
    let (said, kept) = run(&entry(&says(ANSWERED)).unwrap(), b"event").unwrap();
    assert_eq!(said, Said::Result);
    assert_eq!(kept.len(), MAX_RESPONSE_BYTES);
    let more = broken(&says(ANSWERED + 1));
    assert!(more.contains("too much data"), "{more}");
}

/// A command that has this make a handle so many times, and succeeds.
fn makes(host: &str, module: &str, handle: &str, count: usize) -> Vec<u8> {
    let body = format!(
        "(loop $again
           (drop {handle})
           (local.set $it (i32.add (local.get $it) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $it) (i32.const {count}))))
         i32.const 0"
    );
    text(&texts::command(host, module, &body))
}

#[test]
fn a_component_has_so_many_handles_of_its_own_and_no_more() {
    let of_its_own = |count: usize| {
        let host = r#"
            (type $thing (resource (rep i32)))
            (core func $new (canon resource.new $thing))
            (core instance $host (export "new" (func $new)))"#;
        let module = r#"(import "host" "new" (func $new (param i32) (result i32)))"#;
        makes(host, module, "(call $new (i32.const 1))", count)
    };
    let most = entry(&of_its_own(HANDLES)).unwrap();
    assert_eq!(run(&most, b"").unwrap().0, Said::Result);
    let more = broken(&of_its_own(HANDLES + 1));
    assert!(more.contains("handle limit exceeded"), "{more}");
}

#[test]
fn a_component_has_so_many_handles_of_the_hosts_and_no_more() {
    // Each takes two entries of the host's.
    let subscribe = "(call $subscribe (i64.const 1000000000))";
    let of_clocks = |count: usize| makes(CLOCKS, CLOCKS_IMPORTED, subscribe, count);
    let most = entry(&of_clocks(HANDLES)).unwrap();
    assert_eq!(run(&most, b"").unwrap().0, Said::Result);
    let more = broken(&of_clocks(HANDLES + 1));
    assert!(more.contains("no free keys"), "{more}");
}

#[test]
fn no_more_is_waited_for_at_once_than_there_are_handles() {
    let polls = |count: usize| text(&texts::polls(count));
    let most = entry(&polls(HANDLES)).unwrap();
    assert_eq!(run(&most, b"").unwrap().0, Said::Result);
    let more = broken(&polls(HANDLES + 1));
    assert!(
        more.contains(&format!("poll of {} handles", HANDLES + 1)),
        "{more}"
    );
    // The engine counts 12 bytes for each, before it copies any.
    let most = broken(&polls(COPIED / 12));
    assert!(most.contains("poll of"), "{most}");
    let more = broken(&polls(COPIED / 12 + 1));
    assert!(more.contains("too much data"), "{more}");
}

#[test]
fn an_event_for_which_there_is_no_room_is_the_components_fault() {
    let realloc = |at: &str| {
        let component = texts::typed(at, "i32.const 0");
        run(&entry(&text(&component)).unwrap(), b"event").map_err(|error| error.is::<Broken>())
    };
    assert_eq!(realloc("i32.const 65531").unwrap().0, Said::Result);
    assert_eq!(realloc("i32.const 65532"), Err(true));
    assert_eq!(realloc("i32.const -1"), Err(true));
}
