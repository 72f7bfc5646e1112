//! The contract for sources of events and the one runner that drives them.
//!
//! # For authors of connectors
//!
//! A [`Source`] covers **one foreign partition**: one partition of a Kafka topic, one folder, one
//! replication slot. It has three verbs and knows no log:
//!
//! 1. **open** at the place that was reached, or at the beginning. Say which topics will be written
//!    and with how many partitions.
//! 2. **next**: wait until there is something, then hand over a [`Batch`] of about `max_bytes`. Each
//!    [`Delivery`] says where it goes, carries its own position, and is a record: an
//!    [`Event`](event::Event) made by `into_record`, its id derived from the source's own position so
//!    that redelivery repeats it. A record that is one already at the source is copied as it stands.
//! 3. **acknowledge**: everything up to a position is durable; the source may forget it.
//!
//! The [`Runner`] does the rest, the same for all:
//!
//! - Events and the position reached go into the log in **one settlement** (invariant C1), and only
//!   then is the source told (C2). A crash in between makes the source deliver again; the runner
//!   compares positions and drops the copies, also when they are batched differently.
//! - It resumes at the position in the log, and repeats the acknowledgement that may have been lost.
//! - A failed verb has a class ([`SourceError`]): unavailable and throttled sources are opened again
//!   after a pause that grows ([`pause_after`]); a rejected one ends the run with the reason.
//! - A watchdog, where [`Settings::quiet`] asks for one: a source from which nothing comes is asked whether
//!   events are waiting ([`Source::check`]), and opened again when they are.
//! - It writes under an epoch: a second runner for the same source fences the first.
//! - Bytes in flight are bounded: one batch at a time, and the log's own write budget.
//!
//! Positions are opaque to the runner. They must have a total order, given by [`Source::order`], in
//! which later events have positions that are not smaller, and must fit a few KiB where possible:
//! one is written with every batch. A source that has to know more hands over [`Note`]s beside its
//! deliveries: keyed records in a compacted topic of its own, in the same settlement, which it reads
//! again through its [`Memory`].
//!
//! What happened to a source as a whole, such as events that were lost before they were read, is a
//! [`Notice`] in the batch that comes after: counted once and kept by the runner ([`Notices`]).
//!
//! What this crate does not know: any foreign system, functions, triggers.

mod source;

mod memory;

mod notices;

mod retry;

mod runner;

mod error;

pub use error::{Error, SourceError};
pub use memory::{Memory, Note, Recollection};
pub use notices::{Notices, Told};
pub use retry::{Pause, grown_pause, pause_after};
pub use runner::{Runner, Settings};
pub use source::{Batch, Delivery, Notice, NoticeKind, Placement, Source, TopicPlan};
