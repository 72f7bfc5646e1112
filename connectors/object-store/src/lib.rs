//! A folder or bucket of files as a source of events.
//!
//! **What is read**: the listing of any [`ObjectStore`](object_store::ObjectStore) (a local folder,
//! an S3-compatible store, Azure, GCS), held against the manifest of what was there before. The
//! difference becomes events in AWS's S3 shape in the topic `bucket.<name>`. No object is opened.
//!
//! **When**: once after opening and then at every wake-up that is handed in. Wake-ups are hints
//! (a notification, a timer): however many are lost, the next listing finds everything that is
//! different. A change that is undone between two listings is not seen; an object that is replaced
//! twice between two listings is one event.
//!
//! **Ordering**: of one listing, created objects by the time of their change, then removed ones by
//! key. Events of one key keep their order.
//!
//! **Duplicates and resuming**: the source's position *is* the manifest, so events and manifest
//! become durable together and a restart goes on where the log stands. One manifest fits
//! [`MAX_MANIFEST_BYTES`], some 10,000 objects; a source that grows beyond is rejected by name.
//!
//! A local folder ([`FolderSource`]) is kept likewise, with hints of its own from inotify, and with care
//! for files that are still being written. A folder that cannot be read is an error, but one that has
//! been emptied looks like every file removed, for that is what it is.

mod config;

mod source;

mod folder;

mod backlog;

mod manifest;

mod s3_event;

pub use config::{Config, FolderConfig};
pub use folder::FolderSource;
pub use manifest::{MAX_MANIFEST_BYTES, show_position};
pub use source::ObjectStoreSource;
