//! A folder or bucket of files as a source of events.
//!
//! **What is read**: a [`Listing`], that of a bucket of another store ([`Remote`]: S3-compatible ones, Azure
//! Blob Storage, Google Cloud Storage), held against the manifest of what was there before. The difference
//! becomes events in the topic `bucket.<name>`. No object is opened.
//!
//! **What is told**, of every store: AWS's S3 record, so that handlers need not know where an object lies.
//! `bucket.name` is the bucket's (Azure's container's) and `bucket.arn` `arn:aws:s3:::` with it; `eTag` is
//! what the store calls it: at Azure an opaque text, at Google the MD5 in hexadecimal digits, or the
//! generation of an object that has none. `versionId` is absent, as a listing of what is there has none, and
//! so is whatever only the store's own log could tell: who changed it, from where, how.
//!
//! **When**: once after opening and then at every wake-up that is handed in. Between listings, a
//! [`Hint`] (a notification) has one object looked at. Hints are good for latency only: however many are
//! lost, repeated or out of order, the next listing finds everything that is different, and what a hint
//! has found already is not. They are posted and handed in, come to a queue that is read here
//! ([`queue_hints`]), or on a connection that is kept open here ([`listen_hints`]). A change that is undone between two looks is not seen; an object that is
//! replaced twice between two looks is one event.
//!
//! **Ordering**: of some thousand differences that are found together, created objects by the time of
//! their change, then removed ones by key. Events of one key keep their order.
//!
//! **Duplicates and resuming**: what was told of every object, the manifest, is in a compacted topic,
//! written in one settlement with the events, and a restart goes on where the log stands. In memory an
//! object takes 24 bytes and a little, a pass another few MiB, whatever the number of objects: names are
//! not kept but read from the manifest when objects are missing.
//!
//! **Keys** are told byte for byte, also `a//b`, `./a` and `a/`.
//!
//! A local folder ([`FolderSource`]) is kept likewise, with hints of its own from inotify, and with care
//! for files that are still being written; what one look finds different is in memory as a whole. A
//! folder that cannot be read is an error, but one that has been emptied looks like every file removed,
//! for that is what it is.

mod config;

mod hint;

mod channel;

mod notification;

mod queue;

mod listing;

mod remote;

mod source;

mod folder;

mod backlog;

mod known;

mod entry;

mod position;

mod s3_event;

pub use channel::{Broken, ChannelState, ChannelWatch, Refused};
pub use config::{Config, FolderConfig};
pub use folder::{FileState, FolderFiles, FolderSource, FolderWalk};
pub use hint::{Hint, Hints, Unheard, hint_queue};
pub use listing::{Listed, Listing};
pub use notification::{NotificationError, hints_of};
pub use position::show_position;
pub use queue::{QueuePlace, QueueUrl, queue_hints};
pub use remote::{AzureKey, AzurePlace, GcsPlace, Remote, S3Place, listen_hints};
pub use source::ObjectStoreSource;
