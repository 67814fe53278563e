//! The messages that count: retained, waiting, in flight.

use crate::saved::{CopyId, NewCopy, Publisher};
use ahash::AHashMap;
use smallvec::SmallVec;
use tidegate_message::Message;

/// Where a record is: its segment by its place in the order of all, and how much of it it takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) length: u64,
}

/// A message that counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) publisher: Publisher,
    pub(crate) is_retained: bool,
    /// The number of `copies[0]`.
    pub(crate) first_copy: u32,
    /// `None` for one that is done.
    pub(crate) copies: SmallVec<[Option<NewCopy>; 1]>,
    pub(crate) place: Place,
}

impl Item {
    pub(crate) fn counts(&self) -> bool {
        self.is_retained || self.copies.iter().any(Option::is_some)
    }

    pub(crate) fn copy_mut(&mut self, copy: u32) -> Option<&mut Option<NewCopy>> {
        self.copies.get_mut(copy.checked_sub(self.first_copy)? as usize)
    }

    /// Adds a copy; returns its number.
    pub(crate) fn add(&mut self, copy: NewCopy) -> u32 {
        self.forget_first();
        self.copies.push(Some(copy));
        self.first_copy + self.copies.len() as u32 - 1
    }

    /// A retained message outlives many copies.
    pub(crate) fn forget_first(&mut self) {
        let gone = self.copies.iter().take_while(|copy| copy.is_none()).count();
        self.copies.drain(..gone);
        self.first_copy += gone as u32;
    }

    /// Those that are left, with their numbers.
    pub(crate) fn left(&self) -> impl Iterator<Item = (u32, &NewCopy)> {
        let numbered = self.copies.iter().enumerate();
        numbered.filter_map(|(at, copy)| Some((self.first_copy + at as u32, copy.as_ref()?)))
    }
}

/// All of them, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Items(AHashMap<u64, Item>);

impl Items {
    pub(crate) fn get(&self, item: u64) -> Option<&Item> {
        self.0.get(&item)
    }

    pub(crate) fn get_mut(&mut self, item: u64) -> Option<&mut Item> {
        self.0.get_mut(&item)
    }

    /// Files one; returns where the record of it was that counts no more.
    pub(crate) fn put(&mut self, number: u64, item: Item) -> Option<Place> {
        self.0.insert(number, item).map(|old| old.place)
    }

    /// A copy is done. Returns where the message was, if it counts no more.
    pub(crate) fn done(&mut self, id: CopyId) -> Option<Place> {
        let item = self.0.get_mut(&id.item)?;
        item.copy_mut(id.copy)?.take()?;
        self.settle(id.item)
    }

    /// A message is not retained any more. Returns where it was, if it counts no more.
    pub(crate) fn unretain(&mut self, number: u64) -> Option<Place> {
        let item = self.0.get_mut(&number)?;
        if !std::mem::take(&mut item.is_retained) {
            return None;
        }
        self.settle(number)
    }

    /// Forgets a message that counts no more; returns where it was.
    pub(crate) fn settle(&mut self, number: u64) -> Option<Place> {
        if self.0.get(&number)?.counts() {
            return None;
        }
        self.0.remove(&number).map(|item| item.place)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Item)> {
        self.0.iter().map(|(number, item)| (*number, item))
    }
}
