//! Looking into the folder of an embedded log without changing it, for operators and tests.
//!
//! An [`Inspection`] sees what a start would make of the folder, and with [`Depth::Everything`] also
//! what a start does not look at: every frame of every sealed segment, and whether the catalogs agree
//! with them. It works on the folder of a server that has stopped, and keeps one from starting.

pub use crate::embedded::{Damage, Depth, Inspection, Lost, SegmentFound};
