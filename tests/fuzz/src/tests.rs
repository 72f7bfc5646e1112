//! The targets on their seeds, on what once failed, and on mutations of both: the same in every run.

use std::fs;
use std::path::Path;

use crate::{Counted, Mutations, Target};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn holds(name: &str, mutations: usize) {
    let target = Target::named(name).unwrap();
    let mut inputs = (target.seeds)();
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    // There is no such folder until something has failed.
    for file in fs::read_dir(regressions.join(name)).into_iter().flatten() {
        inputs.push(fs::read(file.unwrap().path()).unwrap());
    }
    inputs.extend(Mutations::of(inputs.clone(), 1).take(mutations));
    for input in inputs {
        let ran = std::panic::catch_unwind(|| (target.run)(&input));
        assert!(ran.is_ok(), "{name} fails on \"{}\"", input.escape_ascii());
    }
}

#[test]
fn packages_touch_nothing_around_them_and_keep_to_their_allowance() {
    holds("package", 3_000);
}

#[test]
fn layers_touch_nothing_around_them_and_keep_to_their_allowance() {
    holds("layers", 3_000);
}

#[test]
fn the_runtime_api_withstands_anything_and_ends_each_invocation_once() {
    holds("runtime-api", 3_000);
}

#[test]
fn mutations_are_the_same_in_every_run_and_differ_from_one_another() {
    let of = |seed| Mutations::of(vec![b"seed".to_vec()], seed).take(50);
    assert!(of(1).eq(of(1)));
    assert!(!of(1).eq(of(2)));
}
