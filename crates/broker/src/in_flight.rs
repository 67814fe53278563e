//! What the broker notes of the messages in flight to a client, by their keys in its session.

use slab::Slab;
use tidegate_persistence::CopyId;

/// A message in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnItsWay {
    /// In bytes.
    pub(crate) weight: usize,
    /// The serial of the group for which it goes there; 0: for none.
    pub(crate) group: u32,
    /// Where it is kept, if it is.
    pub(crate) copy: Option<CopyId>,
}

/// All that is in flight to one client.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    messages: Slab<OnItsWay>,
    bytes: usize,
}

impl InFlight {
    /// What it weighs together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes a message; returns its key.
    pub(crate) fn add(&mut self, message: OnItsWay) -> u64 {
        self.bytes += message.weight;
        self.messages.insert(message) as u64
    }

    pub(crate) fn get(&self, key: u64) -> Option<&OnItsWay> {
        self.messages.get(usize::try_from(key).ok()?)
    }

    /// A message needs no more care.
    pub(crate) fn remove(&mut self, key: u64) -> Option<OnItsWay> {
        let message = self.messages.try_remove(usize::try_from(key).ok()?)?;
        self.bytes -= message.weight;
        if self.messages.is_empty() {
            // A client that once had many holds nothing for them.
            *self = Self::default();
        }
        Some(message)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OnItsWay> {
        self.messages.iter().map(|(_, message)| message)
    }
}
