//! The short way of most messages that are spooled: one message, one queue, one record.
//!
//! In: a message that a source waits for, from step 1, or from step 4 once plugins have decided. Out: its record. It does what
//! steps 3 and 4 do, without a debt, a stash and a transaction to put together, and only where nothing has to be put
//! together: one target with one queue that has room, and nothing before it that waits. Everything else goes the long way,
//! and both write the same bytes.

use crate::Moment;
use crate::Router;
use crate::debt::{Ack, Creditor, Owed};
use crate::ids::{BrokerId, QueueId, RouteId};
use crate::queue::is_full;
use crate::route::{Part, RouteTarget};
use crate::sessions::Sessions;
use tidegate_message::Message;
use tidegate_spool::Single;

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Whether a message that a source waits for, and no other route wants, can take the short way: written as it comes, by
    /// itself and without a debt. It is so for most: of a route without plugins, with one queue, which has room.
    #[inline]
    pub(crate) fn queue_at_once(&self, source: BrokerId, route: RouteId) -> Option<QueueId> {
        let route = &self.routes[route.at()];
        if !route.spooled || !route.is_direct() || route.paused || !route.drafts.is_empty() {
            return None;
        }
        self.queue_with_room(source, &route.targets)
    }

    /// The one queue of these targets, if it has room, and nothing that came from this source before waits for some.
    #[inline]
    fn queue_with_room(&self, source: BrokerId, targets: &[RouteTarget]) -> Option<QueueId> {
        let [target] = targets else { return None };
        // Who follows messages follows debts.
        if self.trace.is_on() {
            return None;
        }
        // Known from the second message on, of a target with one queue.
        let queue = target.queue.get()?;
        let settings = &self.queues[queue.at()].settings;
        let has_room = !is_full(settings, self.spool.pending(queue.spool()));
        (has_room && !self.is_blocked(source)).then_some(queue)
    }

    /// The short way: a message that has its topic at the target enters its route and is written.
    #[inline(always)]
    pub(crate) fn record_at_once(
        &mut self,
        owed: Owed<A>,
        at: RouteId,
        queue: QueueId,
        mut message: Message,
        now: Moment,
    ) {
        let route = &mut self.routes[at.at()];
        route.account.received += 1;
        route.account.in_flight += 1;
        route.shape.dress(&mut message);
        if let Owed::Source { source, weight_bytes, .. } = owed {
            self.brokers[source.at()].held_bytes += weight_bytes;
        }
        self.record_alone(owed, now.us, at, queue, message);
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
            taken = self.brokers[source.at()].source_id.map(|source| (source, packet_id));
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
    pub(crate) fn take_debt_alone(&mut self, part: Part, targets: &[RouteTarget]) -> Option<(Owed<A>, QueueId)> {
        let id = part.debt.filter(|id| part.draft.is_none() && self.debts.is_last_decision(*id))?;
        let debt = self.debts.get(id)?;
        let Creditor::Source(source, ack) = debt.to else { return None };
        if debt.is_forgotten {
            return None;
        }
        let owed = Owed::Source { source, ack, weight_bytes: debt.weight_bytes };
        let queue = self.queue_with_room(source, targets)?;
        self.debts.remove(id);
        Some((owed, queue))
    }
}
