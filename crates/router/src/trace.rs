//! A message's way for people: `RUST_LOG=tidegate=debug` gives a line for each step, all of one received message with one
//! `id`. Never a payload.
//!
//! This is beside the walk, not in it: the numbers live in a table of their own, which is empty while nobody looks, so that
//! no message carries one. Whether somebody looks is asked once a batch, and all that is done then is in functions that are
//! never inlined.

use crate::Router;
use crate::account::DropReason;
use crate::debt::{Ack, Creditor};
use crate::decide::Verdict;
use crate::ids::{BrokerId, DebtId, QueueId, RouteId};
use crate::lane::Entry;
use crate::parcel::Parcel;
use crate::route::Part;
use crate::sessions::Sessions;
use crate::stash::Stash;
use crate::ticket::Ticket;
use ahash::AHashMap;
use std::collections::VecDeque;
use tidegate_message::{Message, Topic};
use tracing::debug;

/// So many messages of QoS 0 on their way to one broker are known by their number. There are hardly more in a lane.
const LOOSE_MAX: usize = 50_000;

/// The numbers of messages under way, while somebody looks.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    is_on: bool,
    last: u64,
    /// Of the message that a step is about now.
    current: u64,
    /// By the number of its parcel.
    parcels: AHashMap<u64, u64>,
    debts: AHashMap<DebtId, u64>,
    /// What is in the log and has not come out of it, in order for each queue.
    recorded: AHashMap<QueueId, VecDeque<u64>>,
    spooled: AHashMap<(QueueId, u32), u64>,
    /// What is loose has nothing but its topic to be known by, and its place in the order.
    loose: AHashMap<BrokerId, VecDeque<(Topic, u64)>>,
}

impl Trace {
    /// A batch begins.
    #[inline]
    pub(crate) fn look(&mut self) {
        self.is_on = tracing::enabled!(tracing::Level::DEBUG);
    }

    /// Whether somebody wants to know.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    fn begin(&mut self) -> u64 {
        self.last += 1;
        self.current = self.last;
        self.last
    }

    fn id_of(&self, ticket: Ticket) -> Option<u64> {
        match ticket {
            Ticket::Spooled { queue, ordinal } => self.spooled.get(&(queue, ordinal)).copied(),
            Ticket::Held { debt, .. } => self.debts.get(&debt).copied(),
            Ticket::Loose { .. } => None,
        }
    }
}

/// A topic, on one line.
fn shown(message: &Message) -> impl std::fmt::Display + '_ {
    message.topic.as_str().escape_debug()
}

impl<A: Ack, S: Sessions> Router<A, S> {
    fn names(&self, routes: &[RouteId]) -> String {
        let names: Vec<&str> = routes.iter().map(|route| &*self.routes[route.at()].name).collect();
        names.join(", ")
    }

    fn queue_names(&self, queues: &[QueueId]) -> String {
        let name = |queue: &QueueId| self.spool.key(queue.spool()).target;
        queues.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_received(&mut self, from: BrokerId, message: &Message, to: &[RouteId], debt: Option<DebtId>) {
        let id = self.trace.begin();
        if let Some(debt) = debt {
            self.trace.debts.insert(debt, id);
        }
        let (broker, routes, qos) = (&*self.brokers[from.at()].name, self.names(to), message.qos as u8);
        debug!(id, broker, topic = %shown(message), qos, retain = message.retain, routes, "received");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_unrouted(&mut self, from: BrokerId, message: &Message) {
        let (id, broker) = (self.trace.begin(), &*self.brokers[from.at()].name);
        debug!(id, broker, topic = %shown(message), "received, and no route wants it");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_replayed(&mut self, route: RouteId, debt: DebtId, number: u64) {
        let id = self.trace.begin();
        self.trace.debts.insert(debt, id);
        debug!(id, route = &*self.routes[route.at()].name, number, "a message that was put aside goes on");
    }

    /// Before it is recorded in another queue.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_moved(&mut self, ticket: Ticket, to: QueueId) {
        let id = self.trace.id_of(ticket).unwrap_or_else(|| self.trace.begin());
        self.forget_spooled(ticket);
        self.trace.recorded.entry(to).or_default().push_back(id);
        debug!(id, target = self.queue_names(&[to]), "moved to another target");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_parcel(&mut self, route: RouteId, parcel: &Parcel) {
        let id = self.trace.current;
        self.trace.parcels.insert(parcel.id, id);
        let route = &*self.routes[route.at()].name;
        debug!(id, route, topic = %shown(&parcel.message), "to the plugins of its route");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_verdict(&mut self, part: Part, parcel: &Parcel, verdict: &Verdict) {
        // What a plugin makes on a tick begins here.
        let known = self.trace.parcels.remove(&parcel.id);
        let id = known.unwrap_or_else(|| self.trace.begin());
        self.trace.current = id;
        let decided = match verdict {
            Verdict::Onward => "onward".to_owned(),
            Verdict::Outputs(outputs) => {
                let topics: Vec<String> = outputs.iter().map(|(_, message)| shown(message).to_string()).collect();
                format!("{} instead of it: {}", topics.len(), topics.join(", "))
            }
            Verdict::Drop(reason) => format!("drop: {reason:?}"),
            Verdict::Failed => "failed".to_owned(),
            Verdict::Park(why) => format!("park: {} of {}", why.kind, why.plugin),
        };
        let route = &*self.routes[part.route.at()].name;
        debug!(id, route, topic = %shown(&parcel.message), decided, "its plugins have decided");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_filed(&mut self, debt: DebtId, part: Part, queues: &[QueueId], message: &Message) {
        let id = self.trace.current;
        self.trace.debts.insert(debt, id);
        let (route, targets) = (&*self.routes[part.route.at()].name, self.queue_names(queues));
        debug!(id, route, targets, topic = %shown(message), qos = message.qos as u8, "goes into the spool");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_passed(&mut self, to: BrokerId, entry: &Entry) {
        let (id, message) = (self.trace.current, &entry.message);
        if entry.ticket.is_loose() {
            let loose = self.trace.loose.entry(to).or_default();
            if loose.len() == LOOSE_MAX {
                loose.pop_front();
            }
            loose.push_back((message.topic.clone(), id));
        }
        let broker = &*self.brokers[to.at()].name;
        debug!(id, broker, topic = %shown(message), qos = message.qos as u8, "goes past the spool");
    }

    /// Before a record is made of what is filed for a debt.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_stashed(&mut self, debt: DebtId, stash: &Stash) {
        let Some(id) = self.trace.debts.get(&debt).copied() else { return };
        for name in stash.deliveries.iter().flat_map(|delivery| &delivery.queues) {
            let Some(at) = self.queues.iter().position(|queue| queue.name == *name) else { continue };
            self.trace.recorded.entry(QueueId::new(at)).or_default().push_back(id);
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_recorded(&mut self, sequence: u64, debts: &[DebtId]) {
        for id in debts.iter().filter_map(|debt| self.trace.debts.get(debt)) {
            debug!(id, sequence, "recorded");
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_ready(&mut self, entry: &Entry, recovered: bool) {
        let Ticket::Spooled { queue, ordinal } = entry.ticket else { return };
        let waits = if recovered { None } else { self.trace.recorded.get_mut(&queue).and_then(VecDeque::pop_front) };
        let id = waits.unwrap_or_else(|| self.trace.begin());
        self.trace.spooled.insert((queue, ordinal), id);
        let target = self.queue_names(&[queue]);
        debug!(id, target, topic = %shown(&entry.message), recovered, "durable, and waits for its target");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_sent(&mut self, to: BrokerId, ticket: Ticket, message: &Message) {
        let id = self.trace.id_of(ticket).or_else(|| {
            let loose = self.trace.loose.get_mut(&to)?;
            let at = loose.iter().position(|(topic, _)| *topic == message.topic)?;
            loose.remove(at).map(|(_, id)| id)
        });
        let broker = &*self.brokers[to.at()].name;
        debug!(id, broker, topic = %shown(message), qos = message.qos as u8, "sent");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_completed(&mut self, by: BrokerId, ticket: Ticket, taken: bool) {
        let Some(id) = self.trace.id_of(ticket) else { return };
        self.forget_spooled(ticket);
        debug!(id, broker = &*self.brokers[by.at()].name, taken, "acknowledged by its target");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_dropped(&mut self, ticket: Ticket, reason: DropReason<'_>) {
        let id = self.trace.id_of(ticket);
        self.forget_spooled(ticket);
        debug!(id, reason = reason.word(), "ends on its way to a target");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_ended(&mut self, part: Part, reason: DropReason<'_>) {
        let known = part.debt.and_then(|debt| self.trace.debts.get(&debt).copied());
        let id = known.unwrap_or(self.trace.current);
        debug!(id, route = &*self.routes[part.route.at()].name, reason = reason.word(), "ends in its route");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_twin(&mut self, route: RouteId, first: Option<DebtId>) {
        let (id, route) = (self.trace.current, &*self.routes[route.at()].name);
        let waits_for = first.and_then(|first| self.trace.debts.get(&first).copied());
        debug!(id, route, waits_for, "another broker has brought it already");
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_settled(&mut self, debt: DebtId, to: &Creditor<A>) {
        let Some(id) = self.trace.debts.remove(&debt) else { return };
        if let Creditor::Source(source, _) = to {
            debug!(id, broker = &*self.brokers[source.at()].name, "acknowledged to its source");
        }
    }

    fn forget_spooled(&mut self, ticket: Ticket) {
        if let Ticket::Spooled { queue, ordinal } = ticket {
            self.trace.spooled.remove(&(queue, ordinal));
        }
    }
}
