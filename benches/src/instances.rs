//! Instances beside what others have for them: invocations, starts and the memory that waiting takes; and
//! beside others of ours that misbehave.
//!
//! Ours are in sandboxes of their own, behind the whole server. What each peer leaves out is said in its
//! row: most put nothing around a function, keep no account of it, and let everybody in.

mod connection;
mod emulators;
mod held;
pub(crate) mod neighbours;
mod starts;
mod warm;

use std::path::PathBuf;

use anyhow::Result;

use crate::table::Table;

/// Warm invocations over HTTP, starts to the first byte, then idle instances held at once.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    warm::run(table).await?;
    starts::run(table).await?;
    held::run(table).await
}

/// The program that a variable names.
fn brought(table: &mut Table, name: &str, variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        let reason = format!("{variable} is not set");
        table.row(name, "", "not there".to_owned(), reason);
    }
    found
}
