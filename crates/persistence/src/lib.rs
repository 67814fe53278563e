//! What the box's own broker keeps over a restart: sessions, what waits for them and is in flight to them, retained messages.
//!
//! # Constraints
//! - What was recorded is durable once [`Store::durable`] has reached the [`sequence`](Store::sequence) it had then.
//! - A message is one record, however many sessions get it, and whether it is retained or not: all of that happens or none.
//! - Each session gets what waits for it in the order of recording, after a restart, too.
//! - The log is at most twice as long as what counts of it, and two segments; making it shorter costs in proportion to what is
//!   written, and never waits.
//! - All disk access goes through [`tidegate_spool::Storage`].
//!
//! # Format
//! A [`Journal`](tidegate_spool::Journal), whose records are those of `record.rs`. A session has a number, a message has one too, and
//! each client that is to get it has a *copy*. What is told of a session after its [`Snapshot`](record::Record::Session) are changes
//! of it. The oldest segment goes when what counts of it stands once more at the end: sessions as snapshots of now, messages with the
//! copies that are left.
//!
//! Start reading at [`Store`], then `replay.rs` for what the records mean.

mod items;
mod record;
mod replay;
mod saved;
mod segments;
mod store;
mod tidy;

pub use record::VERSION;
pub use saved::{
    CopyId, Found, Handover, Head, NewCopy, Origin, Publisher, Saved, SavedMessage, SavedRetained, SavedSession,
    SentAs, Snapshot, Subscription, Taken, Will,
};
pub use store::{Draft, Store};
pub use tidegate_spool::{Disk, DiskError, DiskStats, DiskStatus, OpenError, Settings, Storage, Wake};
