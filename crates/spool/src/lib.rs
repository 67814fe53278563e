//! The durable queue: one log on disk, many cursors.
//!
//! # Constraints
//! - What was appended is durable once [`News::durable`] has reached its sequence, whatever happens to the machine then.
//! - A transaction is one record: all of its deliveries, to whatever number of queues, happen or none does.
//! - Each queue gets its items in the order of appending, after a restart, too.
//! - A failed write or fsync ends all acknowledging ([`DiskStatus::Failed`]); no fsync is tried again. A full disk only
//!   stops it until there is room ([`DiskStatus::Full`]).
//! - Memory holds a window of each queue and never its backlog.
//! - All disk access goes through [`Storage`].
//!
//! # Format
//! A folder with these files, each with a header of 16 bytes (magic, version, CRC32C), then records as in `record/frame.rs`:
//! - `<first sequence>.log`: segments. The head of each segment repeats all names
//!   with their numbers, so that no segment depends on an older one to be understood. Sequences only rise.
//! - `<sequence>.checkpoint`: what the log says up to a sequence, except the messages that wait: names, cursors, packet
//!   ids, parked messages, plugin state. Two are kept, and the log from the older one on: either may rot.
//! - `cursors-0`, `cursors-1`: what is done of each queue, written in turns. Losing one costs duplicates, never messages.
//!   They speak only of what is durable, so that they may reach the disk before the log does.
//! - `next`: the next segment, room set aside. `lock`: locked while the folder is in use.
//!
//! # Write
//! The data path encodes records into a buffer and hands it over once a batch ([`Spool::flush`]). The writer takes all
//! that is there, writes it, syncs once, and says how far the log is durable; what came meanwhile is the next batch. A
//! segment that is full is synced before the first byte of the next one, which was created and synced before, with its
//! name. A checkpoint follows.
//!
//! # Read
//! What becomes durable while its queue keeps pace goes to [`News::ready`] from memory. A queue that falls behind leaves
//! the rest on disk; a reader fetches it by the window, from where it stopped. Recovery loads the newest checkpoint that is
//! as it was written, replays the log behind it, cuts the torn tail, and starts a new segment. What it relies on it writes
//! once more and syncs: the process before may have been killed, or have failed to. A record that does not match its
//! checksum is passed over and counted; the next good one is found by its own. No sequence and no number of a name is used
//! twice, whatever was lost.
//!
//! # Delete
//! [`Spool::done`] moves a queue's cursor. A segment goes when every cursor has passed it and two checkpoints cover it,
//! after the cursors were synced.
//!
//! [`verify`] and [`export`] read a stopped gateway's spool, an [`Editor`] changes it; [`copy()`] is for a running one too.
//!
//! A [`Journal`] is a log of this kind for records of its owner's own.
//!
//! Start reading at [`Spool::append`] and [`Spool::poll`] in `spool/`.

mod api;
mod copy;
mod disk_work;
mod edit;
pub mod fields;
mod files;
mod inspect;
mod journal;
mod log_state;
mod log_writer;
mod queue;
mod reader;
mod record;
mod recover;
mod scan;
mod spool;
mod storage;

pub use api::{DoneItem, Key, News, Ready, Settings, Waiting};
pub use copy::copy;
pub use disk_work::{DiskStatus, Wake};
pub use edit::{EditError, Editor};
pub use inspect::{Damage, ExportedItem, Report, export, verify};
pub use journal::{Journal, JournalFound, JournalRecord};
pub use log_state::SentItem;
pub use log_writer::DiskStats;
pub use record::{Delivery, ItemId, NameId, NameKind, Parked, Single, StateWrite, Transaction};
pub use recover::OpenError;
pub use scan::FORMAT_VERSION;
pub use spool::Spool;
pub use storage::{Disk, DiskError, File, Storage};

/// A queue of one [`Spool`], by its place.
pub type QueueId = u16;
