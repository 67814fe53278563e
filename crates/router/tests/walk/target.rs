//! Brokers as targets: the session of a link, as far as the router sees it.

use crate::ledger::Via;
use std::collections::{BTreeSet, VecDeque};
use tidegate_message::{Message, QoS};
use tidegate_router::Ticket;

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
    /// In the ledger.
    pub(crate) arrival: Option<(u64, String, usize)>,
}

/// A session of one process.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) up: bool,
    pub(crate) in_flight: VecDeque<InFlight>,
}

/// How many QoS 1 and 2 messages a broker takes at a time.
const WINDOW: usize = 3;

impl Session {
    pub(crate) fn has_room(&self) -> bool {
        let needs_room = |one: &&InFlight| one.message.as_ref().is_none_or(|message| message.qos > QoS::AtMostOnce);
        self.in_flight.iter().filter(needs_room).count() < WINDOW
    }

    /// Takes back what the broker has not taken over.
    pub(crate) fn take_back(&mut self, wanted: impl Fn(Ticket) -> bool) -> Vec<(Ticket, Message)> {
        let mut taken = Vec::new();
        for mut one in std::mem::take(&mut self.in_flight) {
            match one.message.take_if(|_| wanted(one.ticket)) {
                Some(message) => taken.push((one.ticket, message)),
                None => self.in_flight.push_back(one),
            }
        }
        taken
    }
}

/// What a broker at the end of a link remembers whatever happens to us.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Serials of QoS 2 messages that it has.
    pub(crate) seen: BTreeSet<u64>,
}
