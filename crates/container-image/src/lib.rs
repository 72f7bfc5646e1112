//! Container images: where they are fetched from, and how they become a folder.
//!
//! ```text
//!  name ── Source::resolve ──▶ Image ── Source::fetch ──▶ files of layers ── unpack ──▶ a root
//! ```
//!
//! A [`Source`] reads registries that the operator permits, and OCI layouts below one folder. An [`Image`]
//! is what its manifest and configuration say, and by their digests it is the same for ever. A root is a
//! folder that a sandbox can show as `/`.
//!
//! An image is a stranger's: every name, link and size in it is checked before it touches the disk,
//! bytes are counted and hashed as they come, whatever is claimed, and nothing outside the folder can be
//! read or written through it.
//!
//! This crate knows nothing of functions, of where images are kept, and of how they are run.

mod digest;
mod error;
mod image;
mod layouts;
mod manifest;
mod reference;
mod registry;
mod sink;
mod source;
mod unpack;

pub use digest::{Digest, DigestError};
pub use error::Error;
pub use image::{Compression, Image, Layer, RunConfig};
pub use reference::Reference;
pub use registry::{PatternError, RegistryPattern};
pub use sink::Sink;
pub use source::{Source, SourceConfig};
pub use unpack::{Allowance, LayerFile, unpack};
