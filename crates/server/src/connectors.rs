//! Foreign sources that this server reads: `tidemill connector` and `[[connectors]]`.
//!
//! A [`Definition`] says what to read: those of the configuration file are declared, others are added
//! by command and kept in the store ([`Definitions`]), as functions and triggers are. The
//! [`Supervisor`] runs what should run, each connector by a conductor of its own, which finds its
//! sources and has one `connector::Runner` for each ([`reading`]); what they do is written on the [`Board`].
//! The [`door`] is what the command line talks to, and [`hints`] what other stores' notifications do.
//!
//! **To add a kind**: a module below `kind` with the settings (both arguments of the command line and
//! keys of the file) and their [`Kind`](kind::Kind), and a variant in [`Settings`].
//!
//! **Secrets** are references (`file:PATH`, `env:NAME`), read whenever a connection is made: what is
//! stored, listed and logged has no credentials in it.
//!
//! **On a cluster** a source runs on the node whose share holds it, and every node knows all
//! connectors: definitions are in the shared store, and the registry's feed says when to look again.

mod board;
mod conductor;
mod definition;
mod definitions;
mod door;
mod files;
mod hints;
mod kind;
mod observed;
mod reading;
mod removal;
mod report;
mod streams;
mod supervisor;
mod topic_hints;

pub(crate) use board::Board;
pub(crate) use definition::{ConnectorName, Definition, check_declared, refuse_own_bucket};
pub(crate) use definitions::Definitions;
pub(crate) use door::{Door, router};
pub(crate) use files::ConnectedFolders;
pub(crate) use hints::{HintBoard, PREFIX as NOTIFICATIONS, notifications};
pub(crate) use kind::{Settings, Surroundings};
pub(crate) use report::{Removed, Report, SourceReport, to_list, to_text};
pub(crate) use streams::Streams;
pub(crate) use supervisor::Supervisor;
