//! Step 7, release: a delivery is done, or will never be. Debts are settled, and the cursors of the spool move.
//!
//! In: tickets of messages that were in a session or a lane. Out: accounts, and acknowledgements of what was past the spool.

use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::{BrokerId, RouteId};
use crate::lane::Entry;
use crate::sessions::Sessions;
use crate::ticket::Ticket;
use crate::{Moment, Router, pull};
use std::time::Duration;
use tidegate_message::{Message, Topic};
use tidegate_spool::ItemId;

/// A message that a target has refused, and out of its session.
#[derive(Debug)]
pub struct Refused {
    /// As it left with the message: see [`Router::pull`].
    pub ticket: Ticket,
    /// As it was sent.
    pub message: Message,
    /// The target will take it later: quota exceeded, server busy (MQTT 5.0 section 3.4.2.1).
    pub for_now: bool,
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Deliveries that are done: QoS 0 is written, QoS 1 and 2 are acknowledged. Each as `(ticket, taken)`: `taken` is
    /// false if the target acknowledged with an error (a reason code from 0x80 on, MQTT 5.0 section 3.4.2.1), and the
    /// message is dropped then.
    pub fn completed(&mut self, by: BrokerId, done: impl Iterator<Item = (Ticket, bool)>, now: Moment) {
        let broker = &mut self.brokers[by.at()];
        broker.rest.end();
        broker.pulse.answered_at = Some(now.at);
        let mut count = 0;
        for (ticket, taken) in done {
            count += 1;
            let pulse = &mut self.brokers[by.at()].pulse;
            pulse.answered(ticket.key(), now.at);
            if taken {
                (pulse.refuses_since, pulse.aside_since) = (None, None);
                // Those that it refused it refused for what they are.
                let refused = std::mem::take(&mut self.brokers[by.at()].aside);
                refused.into_iter().for_each(|entry| self.drop_entry(&entry, DropReason::RefusedByTarget));
            }
            if self.trace.is_on() {
                self.trace_completed(by, ticket, taken);
            }
            if taken {
                self.complete(ticket, now);
            } else {
                self.drop_ticket(ticket, None, DropReason::RefusedByTarget);
            }
        }
        self.brokers[by.at()].sent += count;
        self.has_answered(by, now);
    }

    /// One delivery is done.
    pub fn complete(&mut self, ticket: Ticket, now: Moment) {
        let (route, received_us) = match ticket {
            Ticket::Spooled { queue, .. } => {
                let Some((route, received_us)) = self.spool_done(ticket, true) else { return };
                self.queues[queue.at()].delivered += 1;
                (route, Some(received_us))
            }
            Ticket::Held { debt, route, .. } => (route, self.debts.received_us(debt)),
            Ticket::Loose { route, .. } => (route, None),
        };
        let account = &mut self.routes[route.at()].account;
        account.out += 1;
        account.in_flight -= 1;
        if let Some(received_us) = received_us {
            account.latency.record(now.us.saturating_sub(received_us));
        }
        if let Some(debt) = ticket.debt() {
            self.settle_delivered(debt);
        }
    }

    /// A message that waited in a lane ends here.
    pub(crate) fn drop_entry(&mut self, entry: &Entry, reason: DropReason<'_>) {
        if self.trace.is_on() {
            self.trace_dropped(entry.ticket, Some(&entry.message), reason);
        }
        self.end_ticket(entry.ticket, Some(&entry.message.topic), reason);
    }

    /// A message that waited in a lane or a session ends here, with this topic if it is known.
    pub fn drop_ticket(&mut self, ticket: Ticket, topic: Option<&Topic>, reason: DropReason<'_>) {
        if self.trace.is_on() {
            self.trace_dropped(ticket, None, reason);
        }
        self.end_ticket(ticket, topic, reason);
    }

    fn end_ticket(&mut self, ticket: Ticket, topic: Option<&Topic>, reason: DropReason<'_>) {
        let route = match ticket {
            Ticket::Spooled { .. } => {
                let Some((route, _)) = self.spool_done(ticket, false) else { return };
                route
            }
            Ticket::Held { route, .. } | Ticket::Loose { route, .. } => route,
        };
        self.routes[route.at()].account.drop(reason);
        self.note_drop(route, topic, reason);
        if let Some(debt) = ticket.debt() {
            self.settle_delivered(debt);
        }
    }

    /// A message of the spool needs no more care: the cursor of its queue moves. Returns its route, and when it was
    /// received, in microseconds since the epoch; `None` if it was done before, which counts nothing twice. `taken`: its target
    /// has it.
    pub(crate) fn spool_done(&mut self, ticket: Ticket, taken: bool) -> Option<(RouteId, u64)> {
        let Ticket::Spooled { queue, ordinal } = ticket else { return None };
        if self.trace.is_on() {
            self.trace.spool_done(queue, ordinal);
        }
        self.note_quorum(ticket, taken);
        let done = self.spool.done(queue.spool(), ordinal)?;
        self.in_spool = self.in_spool.saturating_sub(1);
        Some((self.route_of(done.route), done.received_ms * 1000))
    }

    /// Takes messages that a target has refused: what it will take later goes back into its lane, if the spool has it.
    /// Returns for how long the target is left alone, if it is.
    pub fn refused(&mut self, by: BrokerId, refused: impl Iterator<Item = Refused>, now: Moment) -> Option<Duration> {
        let mut again = Vec::new();
        let pulse = &mut self.brokers[by.at()].pulse;
        pulse.answered_at = Some(now.at);
        for Refused { ticket, message, for_now } in refused {
            self.brokers[by.at()].pulse.answered(ticket.key(), now.at);
            if for_now && ticket.is_spooled() {
                self.brokers[by.at()].pulse.refuses_since.get_or_insert(now.at);
                again.push(self.entry(ticket, message, now));
            } else if self.set_of(ticket).is_some() && self.has_stand_in(by) {
                // Another member may take it, if it is not the message.
                let entry = self.entry(ticket, message, now);
                let broker = &mut self.brokers[by.at()];
                broker.pulse.aside_since.get_or_insert(now.at);
                broker.aside.push(entry);
            } else {
                self.brokers[by.at()].sent += 1;
                self.drop_ticket(ticket, Some(&message.topic), DropReason::RefusedByTarget);
            }
        }
        let refuses = !again.is_empty() || self.brokers[by.at()].refuses_all();
        let again = self.follow_topics(by, again, now);
        self.has_answered(by, now);
        // In front of what was not sent yet.
        self.put_back(by, again);
        let broker = &mut self.brokers[by.at()];
        refuses.then(|| broker.rest.begin(now.at))
    }

    /// Takes messages that were pulled and that the target does not have, in the order in which they were pulled: they go back
    /// to the front of its lane, whatever waits for them, or to whom their topics belong by now. If the target has `refused`
    /// the first of them for now, it is left alone for the time that this returns; otherwise that is none.
    pub fn returned(
        &mut self,
        by: BrokerId,
        messages: impl Iterator<Item = (Ticket, Message)>,
        refused: bool,
        now: Moment,
    ) -> Duration {
        let mut again = Vec::new();
        for (ticket, message) in messages {
            self.withdrawn(by, ticket);
            again.push(self.entry(ticket, message, now));
        }
        if refused {
            let pulse = &mut self.brokers[by.at()].pulse;
            pulse.answered_at = Some(now.at);
            pulse.refuses_since.get_or_insert(now.at);
        }
        let again = self.follow_topics(by, again, now);
        self.has_answered(by, now);
        self.put_back(by, again);
        let broker = &mut self.brokers[by.at()];
        let rest = if refused { broker.rest.begin(now.at) } else { Duration::ZERO };
        self.touch(by);
        rest
    }

    /// Into the lane of a broker, in front of what has not left it.
    pub(crate) fn put_back(&mut self, to: BrokerId, entries: Vec<Entry>) {
        let Self { brokers, spool, .. } = self;
        brokers[to.at()].lane.put_back(entries, |ticket| ticket.place(spool));
    }

    /// A message that was pulled is out of the session of its target, which has not acknowledged it.
    pub fn withdrawn(&mut self, from: BrokerId, ticket: Ticket) {
        self.brokers[from.at()].pulse.withdrawn(ticket.key());
    }

    /// What names a message of the log in every process that has this log, and no other message: when it was received, in
    /// milliseconds since the epoch, and its record and place in that. `None` if the log does not have it.
    pub fn lasting_id(&self, ticket: Ticket) -> Option<(u64, ItemId)> {
        let Ticket::Spooled { queue, ordinal } = ticket else { return None };
        let received_ms = self.spool.received_ms(queue.spool(), ordinal)?;
        Some((received_ms, self.spool.item_of(queue.spool(), ordinal)?))
    }

    /// A message that was in a session, as an entry again. What nobody waits for counts as received now.
    pub(crate) fn entry(&self, ticket: Ticket, mut message: Message, now: Moment) -> Entry {
        let (received_us, class) = match ticket {
            Ticket::Spooled { queue, ordinal } => {
                let received_ms = self.spool.received_ms(queue.spool(), ordinal);
                (received_ms.map(|ms| ms * 1000), self.queues[queue.at()].class)
            }
            Ticket::Held { debt, route, .. } => (self.debts.received_us(debt), self.routes[route.at()].class),
            Ticket::Loose { route, .. } => (None, self.routes[route.at()].class),
        };
        let received_us = received_us.unwrap_or(now.us);
        self.unhop(&mut message);
        pull::count_up(&mut message, now.us.saturating_sub(received_us));
        Entry { message, ticket, received_us, class }
    }

    /// The route of a message that was in a session; `None` if the spool has it no more.
    pub fn route_of_ticket(&mut self, ticket: Ticket) -> Option<RouteId> {
        match ticket {
            Ticket::Spooled { queue, ordinal } => {
                let name = self.spool.route(queue.spool(), ordinal)?;
                Some(self.route_of(name))
            }
            Ticket::Held { route, .. } | Ticket::Loose { route, .. } => Some(route),
        }
    }
}
