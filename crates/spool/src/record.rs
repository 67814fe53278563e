//! What is written: the records of the log and of checkpoints. `frame` says how a record stands in a file, `codec` what
//! its body is.

mod codec;
mod frame;

pub(crate) use codec::{decode_transaction, encode_single, holds_items};
pub(crate) use frame::{Found, HEAD, find, frame, length};

use crate::Key;
use smallvec::SmallVec;
use tidegate_message::Message;

/// A name in the log, by its number.
pub type NameId = u32;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum NameKind {
    /// A queue: a target and a class of priority.
    Queue = 0,
    /// A broker as the source of messages.
    Source = 1,
    /// A broker at the end of a link.
    Link = 2,
    /// A route.
    Route = 3,
    /// A plugin.
    Plugin = 4,
}

impl NameKind {
    fn from_u8(number: u8) -> Option<Self> {
        [Self::Queue, Self::Source, Self::Link, Self::Route, Self::Plugin].get(usize::from(number)).copied()
    }
}

/// One message for some queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The route it came through.
    pub route: NameId,
    /// Where it goes; one item in each.
    pub queues: SmallVec<[NameId; 2]>,
    /// With the QoS and retain flag to send it with.
    pub message: Message,
}

/// One message for one queue, with nothing else to be recorded with it: most records are that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Single {
    /// When it was received, in milliseconds since the epoch.
    pub received_ms: u64,
    /// If it is a QoS 2 message that is taken over by this: its source and packet id.
    pub taken: Option<(NameId, u16)>,
    /// The route it came through.
    pub route: NameId,
    /// With the QoS and retain flag to send it with.
    pub message: Message,
}

/// A message kept aside for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The route it was in.
    pub route: String,
    /// The plugin that could not decide it, or the target that did not take it.
    pub plugin: String,
    /// A stable word, as in the counters.
    pub kind: String,
    /// In the plugin's or the host's words.
    pub reason: String,
    /// When it was received, in milliseconds since the epoch.
    pub received_ms: u64,
    /// As it came.
    pub message: Message,
}

/// A change of a plugin's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Whose: a plugin's, or a link's.
    pub plugin: NameId,
    /// What.
    pub key: String,
    /// `None`: the key is deleted.
    pub value: Option<Vec<u8>>,
}

/// What takes effect together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// When its messages were received, in milliseconds since the epoch; of the oldest one, where several were received.
    pub received_ms: u64,
    /// QoS 2 messages that are taken over by this: their source and packet id.
    pub taken: SmallVec<[(NameId, u16); 1]>,
    /// What goes where.
    pub deliveries: SmallVec<[Delivery; 1]>,
    /// What is kept aside, under which number.
    pub parked: Vec<(u64, Parked)>,
    /// What is not kept aside any more.
    pub unparked: Vec<u64>,
    /// What plugins remember.
    pub state: Vec<StateWrite>,
}

impl Transaction {
    /// How many items it puts into queues.
    pub fn items(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.queues.len()).sum()
    }
}

/// One message in one queue: the record that holds it, and which of that record's items it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ItemId {
    /// Of the record.
    pub sequence: u64,
    /// In the record.
    pub index: u32,
}

/// How much has gone into a queue, and which of it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct QueueMark {
    pub(crate) queue: NameId,
    /// Everything before it is done.
    pub(crate) cursor: ItemId,
    /// These behind it are done, too.
    pub(crate) beyond: Vec<ItemId>,
    pub(crate) done: Totals,
    pub(crate) appended: Totals,
}

/// Counted since the queue began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// A record without its frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Name {
        id: NameId,
        kind: NameKind,
        text: String,
    },
    Transaction(Transaction),
    /// An item is about to be sent at QoS 2 under this serial of that link's packet ids.
    Sent {
        link: NameId,
        serial: u64,
        queue: NameId,
        item: ItemId,
    },
    /// The target has taken it over (PUBREC).
    TakenOver {
        link: NameId,
        serial: u64,
    },
    /// The source has seen our PUBREC (PUBREL).
    Released {
        source: NameId,
        packet_id: u16,
    },
    /// The source has forgotten our session: its packet ids mean nothing any more.
    Forgotten {
        source: NameId,
    },
    /// Only in checkpoints.
    Mark(QueueMark),
    /// The last of a checkpoint or of a file of cursors; how many records came before it.
    End {
        records: u64,
    },
}

/// A queue as the text of a name: its class, then its target, then which part of that it is if it is one.
pub(crate) fn queue_text(key: &Key) -> String {
    let Key { target, class, part } = key;
    if part.is_empty() { format!("{class}/{target}") } else { format!("{class}/{target}/{part}") }
}

/// The queue that a name stands for.
pub(crate) fn queue_key(text: &str) -> Option<Key> {
    let (class, target) = text.split_once('/')?;
    let (target, part) = target.split_once('/').unwrap_or((target, ""));
    Some(Key { target: target.into(), class: class.parse().ok()?, part: part.into() })
}
