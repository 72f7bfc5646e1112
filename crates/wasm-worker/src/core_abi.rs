//! The core ABI: modules that are handed the event in their memory, and hand back where the result is.
//!
//! ```text
//!  memory                                         exported
//!  _initialize()                                  exported if there is something to be done first
//!  tidemill_alloc(length: i32) -> i32             room for that many bytes, or 0 when there is none
//!  tidemill_handle(event: i32, length: i32) -> i64
//!      bits 63…32 the address of the answer, bits 30…0 its length, bit 31 set when it is an error
//!  tidemill.log(text: i32, length: i32)           imported if wanted
//! ```
//!
//! For each event, on an instance of its own, the functions are called in this order, each once. Nothing
//! is freed: the instance's end is the end of its memory. An error is text, or a JSON object with
//! `errorMessage` and `errorType`. A module may import WASI's functions too, which grant what they grant
//! a command; its standard input is empty, its standard output and error are its log.
//!
//! A module is hostile: whatever address and length it names is checked against its memory as it is at
//! that moment, and no more is copied than a response may be long.

use wasmtime::{Caller, ExternType, FuncType, InstancePre, Linker, Memory, Module, Store, ValType};

use crate::broken::{Broken, unanswered};
use crate::entry::Said;
use crate::wasi::Host;

/// What a module of this ABI exports, by which it is recognised.
pub(crate) const HANDLE: &str = "tidemill_handle";
const ALLOC: &str = "tidemill_alloc";
const INITIALIZE: &str = "_initialize";
const MEMORY: &str = "memory";

/// What it may import.
pub(crate) const MODULE: &str = "tidemill";
pub(crate) const LOG: &str = "log";

/// The bit of a length by which an answer is an error.
const IS_ERROR: u32 = 1 << 31;

/// Whether a module is made for this ABI.
pub(crate) fn is_meant(module: &Module) -> bool {
    module.get_export(HANDLE).is_some()
}

/// Whether it has all of it.
pub(crate) fn check(module: &Module) -> Result<(), String> {
    use ValType::{I32, I64};
    let wanted = [
        (ALLOC, vec![I32], vec![I32], "(i32) -> i32"),
        (HANDLE, vec![I32, I32], vec![I64], "(i32, i32) -> i64"),
        (INITIALIZE, vec![], vec![], "()"),
    ];
    for (name, parameters, results, shape) in wanted {
        let kind = FuncType::new(module.engine(), parameters, results);
        match module.get_export(name) {
            Some(ExternType::Func(export)) if FuncType::eq(&export, &kind) => {}
            None if name == INITIALIZE => {}
            Some(_) | None => {
                return Err(format!(
                    "its module has not the core ABI: it exports no function {name}{shape}"
                ));
            }
        }
    }
    match module.get_export(MEMORY) {
        Some(ExternType::Memory(_)) => Ok(()),
        Some(_) | None => Err("its module has not the core ABI: it exports no memory".to_owned()),
    }
}

/// What a module of this ABI may import.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        LOG,
        |mut caller: Caller<'_, Host>, text: u32, length: u32| -> wasmtime::Result<()> {
            let memory = caller.get_export(MEMORY).and_then(|it| it.into_memory());
            let outside = || Broken::Text(text, length);
            let memory = memory.ok_or_else(outside)?;
            let (memory, host) = memory.data_and_store_mut(&mut caller);
            host.print(slice(memory, text, length).ok_or_else(outside)?);
            Ok(())
        },
    )?;
    Ok(())
}

/// Runs one.
pub(crate) async fn call(
    module: &InstancePre<Host>,
    store: &mut Store<Host>,
) -> wasmtime::Result<Said> {
    let event = store.data_mut().take_event();
    // An event is as long as a request may be.
    let length = u32::try_from(event.len())?;
    let answered = async {
        let instance = module.instantiate_async(&mut *store).await?;
        if let Some(initialize) = instance.get_func(&mut *store, INITIALIZE) {
            let initialize = initialize.typed::<(), ()>(&*store)?;
            initialize.call_async(&mut *store, ()).await?;
        }
        let memory = instance.get_memory(&mut *store, MEMORY);
        let memory = memory.ok_or(Broken::NoRoom(length))?;
        let alloc = instance.get_typed_func::<u32, u32>(&mut *store, ALLOC)?;
        let at = alloc.call_async(&mut *store, length).await?;
        put(memory, store, &event, at, length)?;
        let handle = instance.get_typed_func::<(u32, u32), u64>(&mut *store, HANDLE)?;
        let answer = handle.call_async(&mut *store, (at, length)).await?;
        Ok(take(memory, store, answer)?)
    };
    answered.await.map_err(unanswered)
}

/// Puts the event where there is room for it.
fn put(
    memory: Memory,
    store: &mut Store<Host>,
    event: &[u8],
    at: u32,
    length: u32,
) -> Result<(), Broken> {
    if at == 0 && length > 0 {
        return Err(Broken::NoRoom(length));
    }
    let memory = memory.data_mut(store);
    let to = range(at, length).and_then(|range| memory.get_mut(range));
    to.ok_or(Broken::Room(at, length))?.copy_from_slice(event);
    Ok(())
}

/// Takes the answer from where it is.
fn take(memory: Memory, store: &mut Store<Host>, answer: u64) -> Result<Said, Broken> {
    #[expect(clippy::cast_possible_truncation, reason = "two halves of one number")]
    let (at, low) = ((answer >> 32) as u32, answer as u32);
    let length = low & !IS_ERROR;
    let (memory, host) = memory.data_and_store_mut(store);
    let answer = slice(memory, at, length);
    host.answer(answer.ok_or(Broken::Answer(at, length))?);
    Ok(match low & IS_ERROR {
        0 => Said::Result,
        _ => Said::Error,
    })
}

fn slice(memory: &[u8], at: u32, length: u32) -> Option<&[u8]> {
    memory.get(range(at, length)?)
}

fn range(at: u32, length: u32) -> Option<std::ops::Range<usize>> {
    let from = at as usize;
    Some(from..from.checked_add(length as usize)?)
}

#[cfg(test)]
mod tests;
