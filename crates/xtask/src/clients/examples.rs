//! The examples that are WebAssembly programs in Go and C, built as functions/README.md says.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::text;
use crate::cache::Cache;
use crate::command;
use crate::contract::{self, Export};
use crate::debian::{self, Tool};
use crate::golang::Go;

const CLANG: Tool = Tool {
    program: "clang",
    package: "clang",
};
const LINKER: Tool = Tool {
    program: "wasm-ld",
    package: "lld",
};
/// What is there once a library of Debian's is, and which.
const LIBRARIES: [(&str, &str); 2] = [
    ("/usr/include/wasm32-wasi/stdio.h", "wasi-libc"),
    (
        "/usr/share/doc/libclang-rt-dev-wasm32",
        "libclang-rt-dev-wasm32",
    ),
];
const CHECKSUM: &str = include_str!("../../../../functions/checksum/checksum.c");
const MEDIAN: [(&str, &str); 2] = [
    (
        "go.mod",
        include_str!("../../../../functions/median/go.mod"),
    ),
    (
        "main.go",
        include_str!("../../../../functions/median/main.go"),
    ),
];

/// `checksum.wasm` and `median.wasm` in one folder.
pub(super) fn built(cache: &Cache) -> Result<Vec<Export>> {
    let recipe: String = MEDIAN.iter().map(|(_, source)| *source).collect();
    // The toolchain is fetched into the same cache, which one at a time may fill.
    let go = Go::installed(cache)?;
    let folder = cache.fetched("examples", &(recipe + CHECKSUM), |folder| {
        let write = |name: &str, source: &str| {
            fs::write(folder.join(name), source).with_context(|| format!("write {name}"))
        };
        let clang = CLANG.installed()?;
        LINKER.installed()?;
        for (file, package) in LIBRARIES {
            if !Path::new(file).exists() {
                debian::install(package)?;
            }
        }
        write("checksum.c", CHECKSUM)?;
        let options = ["--target=wasm32-wasi", "-O2", "-o", "checksum.wasm"];
        let mut clang = Command::new(clang);
        command::run(clang.args(options).arg("checksum.c").current_dir(folder))?;
        for (name, source) in MEDIAN {
            write(name, source)?;
        }
        go.build_for_wasi(folder, "median.wasm".as_ref())
    })?;
    Ok(vec![(contract::EXAMPLES, text(folder)?)])
}
