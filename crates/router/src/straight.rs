//! The short way of most messages: from the source into the session of the target, or into the log, with nothing in between.
//!
//! In: a message of one route, from step 1, or, for the log, from step 4 once plugins have decided. Out: one message in a session
//! or a lane, or one record. It does what steps 3, 4 and 6 do where there is nothing to put together: no plugins, one target,
//! nothing before it that waits, and no debt, for nobody waits or all that its source waits for is that record. Everything else
//! goes the long way, and both end the same: the stories take both, and records are the same bytes.

use crate::debt::{Ack, Creditor, Owed};
use crate::ids::{BrokerId, QueueId, RouteId};
use crate::lane::Entry;
use crate::queue::is_full;
use crate::route::{Part, RouteTarget, Target};
use crate::sessions::Sessions;
use crate::ticket::Ticket;
use crate::topic_routes::Ways;
use crate::{Moment, Router};
use tidegate_message::{Message, QoS};
use tidegate_spool::Single;

/// Where a message may go straight.
pub(crate) enum Straight<A> {
    /// Into the log, for this queue; its source waits for that.
    Log(QueueId, A),
    /// To a broker; nobody waits.
    Broker(BrokerId),
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Where a message that no other route wants may go straight; it has its topic there then.
    #[inline(always)]
    pub(crate) fn straight_to(
        &mut self,
        source: BrokerId,
        at: RouteId,
        ack: Option<A>,
        ways: &Ways,
        message: &mut Message,
    ) -> Option<Straight<A>> {
        let route = &self.routes[at.at()];
        // Who follows messages follows debts.
        if !route.is_direct()
            || route.sifts
            || route.on_trial
            || !route.drafts.is_empty()
            || self.trace.is_about_one()
            || self.taps.is_on
        {
            return None;
        }
        let to = if let Some(ack) = ack {
            if !route.spooled {
                return None;
            }
            Straight::Log(self.queue_with_room(source, &route.targets, None)?, ack)
        } else {
            let [RouteTarget { to: Target::Broker(to), .. }] = *route.targets else { return None };
            if route.spooled && (route.persist_qos0 || route.shape.qos(message) > QoS::AtMostOnce) {
                return None;
            }
            Straight::Broker(to)
        };
        route.shape.remap_known(message, &ways.onward, &mut self.arena).ok()?;
        Some(to)
    }

    /// A message enters its route, and leaves it at once.
    #[inline(always)]
    pub(crate) fn go_straight(
        &mut self,
        source: BrokerId,
        at: RouteId,
        to: Straight<A>,
        weight_bytes: usize,
        mut message: Message,
        now: Moment,
    ) {
        let route = &mut self.routes[at.at()];
        route.account.received += 1;
        route.account.in_flight += 1;
        route.shape.dress(&mut message);
        match to {
            Straight::Log(queue, ack) => {
                self.brokers[source.at()].held_bytes += weight_bytes;
                self.record_alone(Owed::Source { source, ack, weight_bytes }, now.us, at, queue, message);
            }
            Straight::Broker(broker) => {
                let (ticket, class) = (Ticket::new(None, at, None), route.class);
                self.push(broker, Entry { message, ticket, received_us: now.us, class }, now);
            }
        }
    }

    /// The one queue of these targets for a message, as it goes there, if it has room, and nothing that came from this source
    /// before waits for some.
    #[inline]
    fn queue_with_room(
        &self,
        source: BrokerId,
        targets: &[RouteTarget],
        of: Option<(&Message, RouteId)>,
    ) -> Option<QueueId> {
        let [target] = targets else { return None };
        // Known from the second message on.
        let queue = match target.to {
            Target::Set(set) if self.sets[set.at()].has_parts() => {
                let (message, route) = of?;
                self.known_queue_of_part(set, route, message)?
            }
            _ => target.queue.get()?,
        };
        let settings = &self.queues[queue.at()].settings;
        let has_room = !is_full(settings, self.pending(queue));
        (has_room && !self.is_blocked(source)).then_some(queue)
    }

    /// Writes the record of a message that has one to itself.
    #[inline(always)]
    pub(crate) fn record_alone(
        &mut self,
        owed: Owed<A>,
        received_us: u64,
        route: RouteId,
        queue: QueueId,
        message: Message,
    ) {
        let mut taken = None;
        if let Owed::Source { source, ack, .. } = owed
            && let Some(packet_id) = ack.exactly_once()
        {
            let source = ack.source().or(self.brokers[source.at()].source_id);
            taken = source.map(|source| (source, packet_id));
        }
        let route = self.routes[route.at()].name_id;
        let single = Single { received_ms: received_us / 1000, taken, route, message };
        let sequence = self.spool.append_single(single, queue.spool());
        self.in_spool += 1;
        self.written.push_back((sequence, owed));
    }

    /// Takes the debt of a message out, if nothing else is to be recorded with it and the queue has room: what is owed, and
    /// the queue.
    #[inline]
    pub(crate) fn take_debt_alone(
        &mut self,
        part: Part,
        targets: &[RouteTarget],
        message: &Message,
    ) -> Option<(Owed<A>, QueueId)> {
        let id = part.debt.filter(|id| part.draft.is_none() && self.debts.is_last_decision(*id))?;
        if self.trace.is_on() && self.trace.knows(id) {
            return None;
        }
        let debt = self.debts.get(id)?;
        let Creditor::Source(source, ack) = debt.to else { return None };
        if debt.is_forgotten || debt.may_be_followed {
            return None;
        }
        let owed = Owed::Source { source, ack, weight_bytes: debt.weight_bytes };
        let queue = self.queue_with_room(source, targets, Some((message, part.route)))?;
        self.debts.remove(id);
        Some((owed, queue))
    }
}
