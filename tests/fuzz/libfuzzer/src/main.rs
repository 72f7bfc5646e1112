//! One program for all targets: `TIDEMILL_FUZZ_TARGET` names the one that libFuzzer is to run, and
//! `TIDEMILL_FUZZ_SEEDS` a folder that its seeds are written to first.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use fuzz_targets::{Counted, Target};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("TIDEMILL_FUZZ_TARGET").expect("TIDEMILL_FUZZ_TARGET is set");
        Target::named(&name).expect("TIDEMILL_FUZZ_TARGET names a target")
    })
}

fn write_seeds() {
    let Some(folder) = std::env::var_os("TIDEMILL_FUZZ_SEEDS") else {
        return;
    };
    for (number, seed) in (target().seeds)().into_iter().enumerate() {
        let file = Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(file, seed).expect("the folder for seeds is writable");
    }
}

fuzz_target!(init: write_seeds(), |data: &[u8]| (target().run)(data));
