//! One module for each command.

pub(crate) mod billing;
pub(crate) mod connector;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod wasm_worker;
