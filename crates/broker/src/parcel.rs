//! A message on its way to several clients.

use crate::connection::Connection;
use crate::expiry::{message_expiry, set_remaining};
use crate::retained::Retained;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_persistence::{CopyId, NewCopy, SentAs, Store};

/// For what a client gets a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct For<'a> {
    /// Identifiers of its subscriptions.
    pub(crate) ids: &'a [u32],
    /// The serial of the group whose member it is; 0: it gets the message for itself.
    pub(crate) group: u32,
}

/// How a client gets a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) meant: For<'a>,
}

/// A message on its way to several clients: what is kept for them is copied out of the read buffer once.
pub(crate) struct Parcel<'a> {
    pub(crate) message: &'a Message,
    kept: Option<Message>,
    pub(crate) expires: Option<Instant>,
    pub(crate) now: Instant,
    pub(crate) from_retained: bool,
    /// Its number in the store: that of the retained message, or the one that it will have if it is written down.
    pub(crate) item: Option<u64>,
    /// Of those that are to be written down with it, once it has been delivered.
    pub(crate) copies: Vec<NewCopy>,
    /// Who is not told of it before it is durable, from which byte on.
    pub(crate) holds: Vec<(Rc<Connection>, u64)>,
}

impl<'a> Parcel<'a> {
    pub(crate) fn new(message: &'a Message, now: Instant) -> Self {
        let expires = message_expiry(message, now);
        let (copies, holds) = (Vec::new(), Vec::new());
        Self { message, kept: None, expires, now, from_retained: false, item: None, copies, holds }
    }

    /// A retained message for a new subscriber.
    pub(crate) fn retained(retained: &'a Retained, now: Instant) -> Self {
        let (kept, expires, item) = (Some(retained.message.clone()), retained.expires, retained.item);
        Self { kept, expires, from_retained: true, item, ..Self::new(&retained.message, now) }
    }

    /// To be encoded now.
    pub(crate) fn passing(&self, qos: QoS, retain: bool) -> Message {
        let mut message = Message { qos, retain, ..self.message.clone() };
        if self.from_retained {
            set_remaining(&mut message, self.expires, self.now);
        }
        message
    }

    /// A copy that shares no read buffer.
    pub(crate) fn own(&mut self) -> &Message {
        self.kept.get_or_insert_with(|| {
            let mut message = self.message.clone();
            message.detach();
            message
        })
    }

    /// To be kept.
    pub(crate) fn kept(&mut self, qos: QoS, retain: bool) -> Message {
        let mut message = Message { qos, retain, ..self.own().clone() };
        set_remaining(&mut message, self.expires, self.now);
        message
    }

    /// To be written down, as published.
    pub(crate) fn written_down(&mut self) -> Message {
        self.own().clone()
    }

    /// Notes that a session is to get it; `None`: that is not written down.
    pub(crate) fn copy(&mut self, store: &mut Store, new: NewCopy) -> Option<CopyId> {
        if self.from_retained {
            return store.copy(self.item?, new);
        }
        let item = *self.item.get_or_insert_with(|| store.next_item());
        self.copies.push(new);
        Some(CopyId { item, copy: self.copies.len() as u32 - 1 })
    }

    /// The copy noted last is on its way.
    pub(crate) fn sent(&mut self, store: &mut Store, id: CopyId, serial: u64) {
        match self.copies.last_mut() {
            Some(copy) if !self.from_retained => copy.sent = Some(SentAs { serial, taken_over: false }),
            _ => store.sent(id, serial),
        }
    }

    /// The copy noted last is none.
    pub(crate) fn take_back(&mut self, store: &mut Store, id: CopyId) {
        if self.from_retained {
            store.done(id);
        } else {
            self.copies.pop();
        }
    }
}
