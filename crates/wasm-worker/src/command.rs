//! Commands: ordinary programs, which read the event from standard input and print the result.

use wasmtime::{ExternType, InstancePre, Module, Store};

use crate::entry::Said;
use crate::wasi::Host;

/// What is called.
pub(crate) const START: &str = "_start";

/// Whether a module is made to be one.
pub(crate) fn is_meant(module: &Module) -> bool {
    module.get_export(START).is_some()
}

/// Whether it has all that a command has.
pub(crate) fn check(module: &Module) -> Result<(), String> {
    let is_function = |kind: ExternType| {
        kind.func()
            .is_some_and(|it| it.params().len() == 0 && it.results().len() == 0)
    };
    if !module.get_export(START).is_some_and(is_function) {
        return Err(format!(
            "its module is not a WASI command: its {START} is no function without parameters and results"
        ));
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(_)) => Ok(()),
        Some(_) | None => Err("its module is not a WASI command: it exports no memory".to_owned()),
    }
}

/// Runs one. What it has said, it has printed; an exit with another status than zero is an error of this
/// function's, as a trap is.
pub(crate) async fn call(
    module: &InstancePre<Host>,
    store: &mut Store<Host>,
) -> wasmtime::Result<Said> {
    let instance = module.instantiate_async(&mut *store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, START)?;
    start.call_async(&mut *store, ()).await?;
    Ok(Said::Result)
}
