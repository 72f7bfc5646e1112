//! Who calls, and what they may do.
//!
//! The account's own key may do everything. A function has a key of its role's instead, made from the
//! account's secret and the role's name, so that every node knows it and nothing has to be kept; what
//! it may do is in the role's [`Policy`], an IAM policy document.
//!
//! ```text
//!  a door ── access key id ──▶ Keyring ──▶ Known { secret, Caller } ── signature holds ──▶ Caller::check
//! ```
//!
//! Invariants: what no statement allows is denied; a statement that could not be applied is refused when
//! its document is read; no secret is shown by `Debug`.
//!
//! This crate knows neither protocols nor operations: doors name actions and resources in IAM's words.

mod caller;
mod keyring;
mod policy;
mod role;

pub use caller::{Caller, Denied};
pub use keyring::{AccessKey, Keyring, Known};
pub use policy::{Policy, PolicyError};
pub use role::{RoleName, Roles};
