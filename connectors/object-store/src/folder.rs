//! A local folder: files that people and programs drop, change and remove are objects of a bucket.
//!
//! The folder is looked through and held against the manifest, soon after a hint from inotify and after
//! a while without one: hints may be lost, the look finds what they would have told.
//!
//! **When a file is complete** nobody can know for sure; this is what is taken for it:
//! - It was hinted that whoever wrote it has closed it, or that it was moved here, and not that it was
//!   written since; and the folder was quiet for a moment.
//! - Without a hint: nothing about it has changed for two seconds, and no process that the server may
//!   look into has it open for writing.
//!
//! So what `cp`, `mv`, a file manager, or an editor does is one event, and a file that is written slowly
//! is one when it is closed. A writer that closes a file between its parts has written it several times;
//! one that cannot be looked into (another user's, or on another machine) and pauses is believed to be
//! done. A file that is written again with the size and time that it had is the same file.
//!
//! **Its files can be read** ([`FolderFiles`]) by the keys and tags that events carry, and nothing else.
//!
//! **What is not an object**: symbolic links, which are not followed; what is no regular file; names that
//! are no UTF-8, and keys above 1,024 bytes, which is said aloud once.

mod source;

mod tree;

mod scan;

mod open_files;

mod files;

mod walk;

pub use files::{FileState, FolderFiles};
pub use source::FolderSource;
pub use walk::FolderWalk;
