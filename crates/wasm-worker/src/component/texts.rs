//! Components for tests, as text.

/// A core instance `$host` for a command that imports nothing.
pub(crate) const NOTHING: &str = "(core instance $host)";

/// A core instance `$host` of clocks and what waits for them, for a [`command`] with [`CLOCKS_IMPORTED`].
pub(crate) const CLOCKS: &str = r#"
    (import "wasi:io/poll@0.2.0" (instance $poll
      (export "pollable" (type $pollable (sub resource)))
      (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
      (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
      (export "pollable" (type $its (eq $pollable)))
      (export "subscribe-duration" (func (param "when" u64) (result (own $its))))))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core func $drop (canon resource.drop $pollable))
    (core instance $host
      (export "block" (func $block)) (export "subscribe" (func $subscribe))
      (export "drop" (func $drop)))"#;

/// What the module of such a command begins with.
pub(crate) const CLOCKS_IMPORTED: &str = r#"
    (import "host" "block" (func $block (param i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "drop" (func $drop (param i32)))"#;

/// A command. Before its module is what makes a core instance `$host`, from which the module imports; the
/// module has something and a function `$run` with this body, which has a local variable `$it`.
pub(crate) fn command(host: &str, module: &str, body: &str) -> String {
    format!(
        r#"(component {host}
          (core module $module {module}
            (func $run (export "run") (result i32) (local $it i32) {body}))
          (core instance $instance (instantiate $module (with "host" (instance $host))))
          (func $run (result (result)) (canon lift (core func $instance "run")))
          (instance $cli (export "run" (func $run)))
          (export "wasi:cli/run@0.2.3" (instance $cli)))"#
    )
}

/// A typed component with these bodies of its functions. What makes room for the event gets four numbers and
/// returns an address; what handles the event gets its address and length, and returns the address of the
/// answer: a byte that is 1 for an error, and at 4 and 8 from there the address and the length of what is
/// said. Its memory is one page.
pub(crate) fn typed(realloc: &str, handle: &str) -> String {
    format!(
        r#"(component
          (core module $module
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            (func (export "handle") (param i32 i32) (result i32) {handle}))
          (core instance $instance (instantiate $module))
          (func $handle (param "event" (list u8)) (result (result (list u8) (error string)))
            (canon lift (core func $instance "handle")
              (memory $instance "memory") (realloc (func $instance "realloc"))))
          (export "handle" (func $handle)))"#
    )
}

/// A command of two parts. One lends the other something to wait for, and that polls for it `count` times in
/// one call.
pub(crate) fn polls(count: usize) -> String {
    let part = format!(
        r#"(component $part
          (import "poll" (instance $poll
            (export "pollable" (type $pollable (sub resource)))
            (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
          (alias export $poll "pollable" (type $pollable))
          (core module $memory
            (memory (export "memory") 4)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 131072))
          (core instance $memory (instantiate $memory))
          (core func $poll (canon lower (func $poll "poll")
            (memory $memory "memory") (realloc (func $memory "realloc"))))
          (core func $drop (canon resource.drop $pollable))
          (core instance $host
            (export "poll" (func $poll)) (export "drop" (func $drop))
            (export "memory" (memory $memory "memory")))
          (core module $module
            (import "host" "poll" (func $poll (param i32 i32 i32)))
            (import "host" "drop" (func $drop (param i32)))
            (import "host" "memory" (memory 4))
            (func (export "wait") (param $it i32) (local $at i32)
              (local.set $at (i32.const 16))
              (loop $again
                (i32.store (local.get $at) (local.get $it))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br_if $again (i32.lt_u (local.get $at) (i32.const {end}))))
              (call $poll (i32.const 16) (i32.const {count}) (i32.const 0))
              (call $drop (local.get $it))))
          (core instance $instance (instantiate $module (with "host" (instance $host))))
          (func (export "wait") (param "it" (borrow $pollable))
            (canon lift (core func $instance "wait"))))"#,
        end = 16 + 4 * count
    );
    let clocks = CLOCKS.replace("(core instance $host", "(core instance $clocks");
    let main = command(
        &format!(
            r#"{clocks}
            (import "wait" (func $wait (param "it" (borrow $pollable))))
            (core func $wait (canon lower (func $wait)))
            (core instance $host
              (export "subscribe" (func $subscribe)) (export "wait" (func $wait)))"#
        ),
        r#"(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
        (import "host" "wait" (func $wait (param i32)))"#,
        "(call $wait (call $subscribe (i64.const 0))) i32.const 0",
    )
    .replacen("(component", "(component $main", 1);
    format!(
        r#"(component {CLOCKS} {part} {main}
          (instance $part (instantiate $part (with "poll" (instance $poll))))
          (instance $main (instantiate $main
            (with "wasi:io/poll@0.2.0" (instance $poll))
            (with "wasi:clocks/monotonic-clock@0.2.0" (instance $clock))
            (with "wait" (func $part "wait"))))
          (export "wasi:cli/run@0.2.3" (instance $main "wasi:cli/run@0.2.3")))"#
    )
}
