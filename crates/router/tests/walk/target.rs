//! Brokers as targets: the session of a link, as far as the router sees it.

use crate::ledger::Via;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use tidegate_message::{Message, QoS};
use tidegate_router::{BrokerId, DropReason, Published, Sessions, Ticket};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    /// In the buffer of the link, to leave once the log is durable up to the gate.
    Buffered,
    /// The broker has it.
    Arrived,
    /// It is the broker's, and PUBREL is due.
    TakenOver,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) ticket: Ticket,
    /// `None` once it was taken over.
    pub(crate) message: Option<Message>,
    pub(crate) via: Via,
    /// At QoS 2.
    pub(crate) serial: Option<u64>,
    pub(crate) gate: u64,
    pub(crate) stage: Stage,
    /// The router knows that it is done: it is of QoS 0 and went past the lane.
    pub(crate) is_done: bool,
    /// In the ledger.
    pub(crate) arrival: Option<(u64, String, usize)>,
}

/// A session of one process.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) up: bool,
    /// What is written is on its way, and has not arrived.
    pub(crate) slow: bool,
    pub(crate) in_flight: VecDeque<InFlight>,
}

/// How many QoS 1 and 2 messages a broker takes at a time.
const WINDOW: usize = 3;

impl Session {
    /// How many QoS 1 and 2 messages it takes now.
    pub(crate) fn room(&self) -> usize {
        let needs_room = |one: &&InFlight| one.message.as_ref().is_none_or(|message| message.qos > QoS::AtMostOnce);
        WINDOW.saturating_sub(self.in_flight.iter().filter(needs_room).count())
    }

    /// Takes back what the broker has not taken over.
    pub(crate) fn take_back(&mut self, wanted: impl Fn(Ticket) -> bool) -> Vec<(Ticket, Message)> {
        let mut taken = Vec::new();
        for mut one in std::mem::take(&mut self.in_flight) {
            match one.message.take_if(|_| !one.is_done && wanted(one.ticket)) {
                Some(message) => taken.push((one.ticket, message)),
                None => self.in_flight.push_back(one),
            }
        }
        taken
    }
}

/// The write buffers of links, past the lanes.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The keys of what their sessions have, of QoS 1 and 2.
    pub(crate) unfinished: BTreeMap<BrokerId, Vec<u64>>,
    /// How many messages of QoS 1 and 2 go into each; none of any QoS into those that are not here.
    pub(crate) room: BTreeMap<BrokerId, usize>,
    /// What went into them since the story looked, with its serial at QoS 2.
    pub(crate) written: Vec<(BrokerId, Ticket, Message, Option<u64>)>,
    /// Of QoS 2 messages.
    pub(crate) next_serial: u64,
}

/// The router's hold on them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(pub(crate) Rc<RefCell<Buffers>>);

impl Buffers {
    pub(crate) fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }
}

impl Sessions for Shared {
    fn takes(&self, broker: BrokerId, message: &Message) -> bool {
        let buffers = self.0.borrow();
        buffers.room.get(&broker).is_some_and(|room| *room > 0 || message.qos == QoS::AtMostOnce)
    }

    fn unfinished(&self, broker: BrokerId) -> Vec<u64> {
        self.0.borrow().unfinished.get(&broker).cloned().unwrap_or_default()
    }

    fn publish(&mut self, broker: BrokerId, key: u64, message: Message) -> Result<Published, DropReason<'static>> {
        let mut buffers = self.0.borrow_mut();
        let serial = (message.qos == QoS::ExactlyOnce).then(|| buffers.serial());
        let qos = message.qos;
        buffers.written.push((broker, Ticket::from_key(key), message, serial));
        if qos == QoS::AtMostOnce {
            return Ok(Published::Written);
        }
        *buffers.room.entry(broker).or_insert(1) -= 1;
        buffers.unfinished.entry(broker).or_default().push(key);
        Ok(Published::InFlight { serial })
    }
}

/// What a broker at the end of a link remembers whatever happens to us.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Serials of QoS 2 messages that it has.
    pub(crate) seen: BTreeSet<u64>,
}
