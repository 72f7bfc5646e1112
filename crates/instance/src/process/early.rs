//! Interpreters that are started before it is known which function they will run.
//!
//! An interpreter takes tens of milliseconds until it runs a function's first line, and none of them is
//! the function's own. So some wait, each in a sandbox of its own, with our runtime loaded. One
//! serves one instance, like an interpreter that was started for it: nothing is forked, and nothing
//! that should be random, or secret, is the same in two instances. The function's module is imported
//! when the instance starts, as ever.
//!
//! What a function can set that an interpreter, or the C library below it, reads while it starts must be
//! what the waiting one was started with. Where it is not, and where the function starts its runtime by
//! itself (a wrapper script), a fresh one is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sandbox::{Bind, Early, Program};

use super::command::EXEC_WRAPPER;
use super::place::OPT;
use crate::{Runtime, Spec};

/// By this argument our runtimes know that they are to wait.
const WAIT: &str = "early";

/// The memory that one may use while it waits, in bytes: what the smallest function has.
const MEMORY: u64 = 128 << 20;

/// How variables begin that interpreters, the dynamic linker, the C library and OpenSSL read at their
/// start.
const READ_AT_START: [&str; 13] = [
    "GCONV_", "GETCONF_", "GLIBC_", "LC_", "LD_", "LOC", "MALLOC_", "NIS_", "NLSPATH", "NODE_",
    "OPENSSL_", "PYTHON", "SSL_",
];

/// Others that they read, whole names.
const ALSO_READ: [&str; 6] = ["HOME", "ICU_DATA", "LANG", "LANGUAGE", "TZ", "TZDIR"];

/// What begins like one that is read at the start and is not: programs ask for it.
const READ_LATER: [&str; 1] = ["NODE_ENV"];

/// What may stand in for `program`, which is to run `spec` and finds `runtime` in its sandbox. `defaults`
/// is the environment of a function that sets nothing. `None` where only a fresh one will do.
pub(super) fn of(
    spec: &Spec,
    program: &Program,
    runtime: &[Bind],
    defaults: BTreeMap<String, String>,
) -> Option<Early> {
    let wrapped = spec
        .environment
        .get(EXEC_WRAPPER)
        .is_some_and(|path| !path.is_empty());
    // What comes with the function would hide it.
    let hidden = runtime
        .iter()
        .any(|bind| bind.to.starts_with(OPT) || bind.to.starts_with(&program.directory));
    if !can_wait(spec.runtime)
        || wrapped
        || hidden
        || read_at_start(&program.environment) != read_at_start(&defaults)
    {
        return None;
    }
    let (executable, code) = (program.executable.clone(), &program.directory);
    let arguments = program.arguments.clone();
    Some(interpreter(executable, arguments, code, runtime, defaults))
}

/// Whether interpreters of `runtime` may wait.
pub(super) fn can_wait(runtime: Runtime) -> bool {
    match runtime {
        Runtime::Python { .. } | Runtime::Node { .. } => true,
        Runtime::Java { .. }
        | Runtime::Ruby { .. }
        | Runtime::Dotnet { .. }
        | Runtime::Provided
        | Runtime::ProvidedAl2
        | Runtime::ProvidedAl2023
        | Runtime::Wasm => false,
    }
}

/// An interpreter that waits for a function whose code will be at `code`.
pub(super) fn interpreter(
    executable: PathBuf,
    mut arguments: Vec<PathBuf>,
    code: &Path,
    runtime: &[Bind],
    defaults: BTreeMap<String, String>,
) -> Early {
    arguments.push(PathBuf::from(WAIT));
    Early {
        program: Program {
            executable,
            arguments,
            environment: defaults,
            directory: PathBuf::from("/"),
            memory: MEMORY,
        },
        binds: runtime.to_vec(),
        // Those of LD_LIBRARY_PATH that come with a function.
        folders: vec![code.join("lib"), Path::new(OPT).join("lib")],
    }
}

fn read_at_start(environment: &BTreeMap<String, String>) -> Vec<(&String, &String)> {
    let read = |name: &str| {
        let begins = |with: &&str| name.starts_with(*with);
        (READ_AT_START.iter().any(begins) && !READ_LATER.contains(&name))
            || ALSO_READ.contains(&name)
    };
    environment.iter().filter(|(name, _)| read(name)).collect()
}
