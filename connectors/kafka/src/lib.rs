//! A foreign Kafka cluster's topics as a source of events.
//!
//! **What is read**: one partition of one topic per [`KafkaSource`], committed records only, into the
//! partition of the same number of `kafka.<connection>.<topic>`, which has as many partitions. Keys,
//! values, headers, times and tombstones are copied as they stand; nothing is added.
//!
//! **Ordering and duplicates**: records keep the order of their partition. The position lives in our
//! log, written with the records, so each record is copied exactly once, whatever crashes.
//!
//! **Beginning**: the place where a new source begins is written to the log before the first record, so
//! that a restart does not begin at a later end.
//!
//! **Resuming**: partitions are assigned by hand at the position in our log. Progress is committed to the
//! cluster under the group `tidemill-<connection>` for other people's lag tools, and never read back.
//!
//! **No membership of a consumer group**: a group hands out partitions and keeps offsets in the foreign
//! cluster, and neither can be one commit with what is written here. A member that was given a partition
//! would still have to fence the one before it in our log, and an offset committed over there is behind or
//! ahead of our records after a crash. So both are kept where the records are: nodes divide the sources by
//! their share of our own work, a reader opens an epoch that fences the one before, and the position is
//! part of the settlement. Whatever comes and goes in whichever order, a record is copied once; a test
//! has readers handed over, usurped and killed in turn for as long as 20,000 records flow.
//!
//! **One client for each partition**, so that a connection that goes dead, a rewound position or a client
//! that has got stuck is one partition's matter, and opening it again leaves nothing behind. Measured with
//! one broker and 100 partitions: four threads, two connections (eight descriptors) and 1.2 MiB each,
//! and 0.03 % of a core while nothing comes. At most 4 MiB are fetched ahead for each.
//!
//! **Watchdog**: where nothing comes, [`check`](connector::Source::check) asks the cluster for the
//! partition's end, over the connections that records come by. Records that have been waiting since it was
//! asked before, none of which was fetched, are a stall, and so is no answer; the runner opens the source
//! again, with new connections. What transactions leave behind is fetched, and so no stall.
//!
//! **Who is turned away** hears why: the client says so besides the call that fails, mostly in OpenSSL's
//! words, and these do not tell an authority that is not trusted from a name that does not match. So that
//! is tried once more without regard to names and without credentials. A refused password waits for its user;
//! certificates are tried again, since they are renewed in place.
//!
//! **Gaps**: when the cluster has dropped records that were not copied yet, reading goes on at the first
//! record there is. When the topic is another than the one that was read, the new one is read from its
//! beginning; when it is the same and has lost what was copied, as after an unclean election, reading goes on
//! behind that. Each is a [`Notice`](connector::Notice), logged as an error and counted; the position that
//! comes with it begins a new count, so that it is greater whatever its offset.
//!
//! **Topics that come and go**: [`discover`] says which topics [`Selection`]s mean now and how many
//! partitions each has; whoever runs the sources asks again at intervals. A topic that gets more partitions
//! at the source needs one more [`KafkaSource`] each, and ours must have them too; the runner refuses a
//! partition that ours lacks, by name.
//!
//! **Topics made anew under their names** have another id, which is part of the position and compared
//! whenever a partition is opened; while it is read, the client says when the id changes, before it asks for
//! the first record under the new one. What was fetched of the old topic by then and not handed over is lost
//! with the rest of it. Where a cluster has no ids (Apache Kafka before 2.8) or a position is older
//! than this, the position's last record tells: offset, time and a hash of key and value. It is read again
//! first, and another in its place is another topic, as is one that ends before the position. What remains
//! undetected is, there: a topic made anew that is longer than the position and holds nothing at that
//! record's offset (compacted, expired, or a mark of a transaction), or holds an equal record; or one made
//! anew while its partition is open, until that is opened again. And everywhere: a topic that lost records
//! and got others while its partition was open, where the client does not see the partition end before
//! it.

mod config;

mod selection;

mod discovery;

mod source;

mod position;

mod identity;

mod decode;

mod lag;

mod complaint;

mod failure;

pub use config::{Config, Connection, Start};
pub use discovery::{Presence, discover};
pub use position::offset_of;
pub use selection::{Selection, SelectionError};
pub use source::KafkaSource;
