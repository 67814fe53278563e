//! A message's way for people, under one number for each received message: as lines of the log
//! (`RUST_LOG=tidegate=debug` gives one for each step, never a payload), and as [`Journey`]s for those who follow some.
//!
//! This is beside the walk, not in it: the numbers live in a table of their own, which is empty while nobody looks, so that
//! no message carries one. Whether somebody looks is asked once a batch, and all that is done then is in functions that are
//! never inlined.

mod context;
mod follow;
mod journey;
mod table;

pub use context::TraceContext;
pub use follow::{SAMPLES, Sampling};
pub use journey::{Journey, Outcome, Step, What};
pub(crate) use table::Trace;

use crate::Router;
use crate::account::DropReason;
use crate::debt::{Ack, Creditor};
use crate::decide::Verdict;
use crate::ids::{BrokerId, DebtId, QueueId, RouteId};
use crate::lane::Entry;
use crate::parcel::Parcel;
use crate::route::{Part, Target};
use crate::sessions::Sessions;
use crate::stash::Stash;
use crate::ticket::Ticket;
use std::sync::Arc;
use tidegate_message::Message;
use tracing::debug;

/// A topic, on one line.
fn shown(message: &Message) -> impl std::fmt::Display + '_ {
    message.topic.as_str().escape_debug()
}

impl<A: Ack, S: Sessions> Router<A, S> {
    fn names(&self, routes: &[RouteId]) -> Vec<Arc<str>> {
        let mut routes = routes.to_vec();
        routes.sort_unstable_by_key(|route| route.at());
        routes.into_iter().map(|route| self.routes[route.at()].name.clone()).collect()
    }

    fn target_of(&self, queue: QueueId) -> String {
        self.spool.key(queue.spool()).target.to_owned()
    }

    /// The target of a ticket, where that is known by it.
    fn target_of_ticket(&self, ticket: Ticket, to: Option<BrokerId>) -> Option<String> {
        match ticket {
            Ticket::Spooled { queue, .. } => Some(self.target_of(queue)),
            Ticket::Held { set: Some(set), .. } | Ticket::Loose { set: Some(set), .. } => {
                let named = self.targets.iter().find(|(_, target)| **target == Target::Set(set));
                named.map(|(name, _)| name.to_string())
            }
            _ => to.map(|broker| self.brokers[broker.at()].name.to_string()),
        }
    }

    /// A message has come for these routes: somebody may want to know.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_received(&mut self, from: BrokerId, message: &mut Message, routes: &[RouteId]) {
        self.trace.current = None;
        let (followers, said) = self.followers_of(from, message, routes);
        if followers == 0 && !self.trace.logs {
            return;
        }
        let id = self.trace.begin();
        self.trace.current = Some(id);
        let names = self.names(routes);
        let (broker, qos) = (&*self.brokers[from.at()].name, message.qos as u8);
        if names.is_empty() {
            debug!(id, broker, topic = %shown(message), "received, and no route wants it");
        } else {
            let routes = names.join(", ");
            debug!(id, broker, topic = %shown(message), qos, retain = message.retain, routes, "received");
        }
        if followers != 0 {
            self.begin_journey(id, (followers, said), from, message);
            self.trace.following.step(id, None, None, || What::Received { routes: names });
        }
    }

    /// Its source waits for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_owed(&mut self, debt: Option<DebtId>) {
        if let (Some(debt), Some(id)) = (debt, self.trace.current) {
            self.trace.owe(debt, id);
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_replayed(&mut self, route: RouteId, debt: DebtId, number: u64) {
        self.trace.current = None;
        if self.trace.logs {
            let id = self.trace.begin();
            self.trace.current = Some(id);
            self.trace.owe(debt, id);
            debug!(id, route = &*self.routes[route.at()].name, number, "a message that was put aside goes on");
        }
    }

    /// It has been recorded in another queue.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_moved(&mut self, ticket: Ticket, to: QueueId, sequence: u64) {
        let known = self.trace.id_of(ticket, None);
        let Some(id) = known.or_else(|| self.trace.logs.then(|| self.trace.begin())) else { return };
        self.trace.following.opens(id);
        self.trace.recorded.entry(sequence).or_default().push((to, Some(id)));
        let target = self.target_of(to);
        debug!(id, target, "moved to another target");
        self.trace.following.step(id, None, Some(&target), || What::Moved);
    }

    /// It waits, to see whether its route is in a loop.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_held_back(&mut self, route: RouteId, parcel: &Parcel) {
        let Some(id) = self.trace.current else { return };
        self.trace.give(parcel.id, id);
        let route = &self.routes[route.at()].name;
        debug!(id, route = &**route, topic = %shown(&parcel.message), "held back for a moment");
        self.trace.following.step(id, Some(route), None, || What::HeldBack);
    }

    /// And goes on.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_resumes(&mut self, parcel: &Parcel) {
        self.trace.current = self.trace.take_parcel(parcel.id);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_parcel(&mut self, route: RouteId, parcel: &Parcel) {
        let Some(id) = self.trace.current else { return };
        self.trace.give(parcel.id, id);
        if self.trace.following.follows(id) {
            self.taps.watched.watch(parcel.id);
        }
        let route = &self.routes[route.at()].name;
        debug!(id, route = &**route, topic = %shown(&parcel.message), "to the plugins of its route");
        self.trace.following.step(id, Some(route), None, || What::Asked);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_verdict(&mut self, part: Part, parcel: &Parcel, verdict: &Verdict) {
        // What a plugin makes on a tick begins here, for the log.
        let known = self.trace.take_parcel(parcel.id);
        self.trace.current = known.or_else(|| self.trace.logs.then(|| self.trace.begin()));
        let Some(id) = self.trace.current else { return };
        let route = self.routes[part.route.at()].name.clone();
        if self.trace.logs {
            let decided = in_words(verdict);
            debug!(id, route = &*route, topic = %shown(&parcel.message), decided, "its plugins have decided");
        }
        if self.trace.following.follows(id) {
            let said = self.taps.said_of(parcel.id);
            let outcome = outcome(verdict);
            self.trace.following.step(id, Some(&route), None, || What::Decided { said, outcome });
        }
    }

    /// A parcel was never asked about.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_undecided(&mut self, parcel: &Parcel) {
        self.trace.current = self.trace.take_parcel(parcel.id);
        if self.trace.current.is_some() {
            self.taps.said_of(parcel.id);
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_filed(&mut self, debt: DebtId, part: Part, queues: &[QueueId], message: &Message) {
        let Some(id) = self.trace.current else { return };
        self.trace.owe(debt, id);
        let route = self.routes[part.route.at()].name.clone();
        let targets: Vec<String> = queues.iter().map(|queue| self.target_of(*queue)).collect();
        let (qos, to) = (message.qos as u8, targets.join(", "));
        debug!(id, route = &*route, targets = to, topic = %shown(message), qos, "goes into the spool");
        for target in &targets {
            let filed = || What::Filed { topic: message.topic.as_str().into(), qos };
            self.trace.following.step(id, Some(&route), Some(target), filed);
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_passed(&mut self, to: Option<BrokerId>, entry: &Entry) {
        let Some(id) = self.trace.current else { return };
        let message = &entry.message;
        if entry.ticket.is_loose() {
            self.trace.give_loose(message, id);
        }
        let (broker, qos) = (to.map(|to| &*self.brokers[to.at()].name), message.qos as u8);
        debug!(id, broker, topic = %shown(message), qos, "goes past the spool");
        let target = self.target_of_ticket(entry.ticket, to);
        let passed = || What::Passed { topic: message.topic.as_str().into(), qos };
        self.trace.following.step(id, None, target.as_deref(), passed);
    }

    /// Before a record is made of what is filed for a debt.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_stashed(&mut self, debt: DebtId, stash: &Stash) {
        let id = self.trace.debts.get(&debt).copied();
        for name in stash.deliveries.iter().flat_map(|delivery| &delivery.queues) {
            if let Some(at) = self.queues.iter().position(|queue| queue.name == *name) {
                self.trace.stashed.push((QueueId::new(at), id));
            }
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_recorded(&mut self, sequence: u64, debts: &[DebtId]) {
        let stashed = std::mem::take(&mut self.trace.stashed);
        for id in debts.iter().filter_map(|debt| self.trace.debts.get(debt)) {
            debug!(id, sequence, "recorded");
            self.trace.following.step(*id, None, None, || What::Recorded { sequence });
        }
        stashed.iter().filter_map(|(_, id)| *id).for_each(|id| self.trace.following.opens(id));
        if stashed.iter().any(|(_, id)| id.is_some()) {
            self.trace.recorded.insert(sequence, stashed);
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_ready(&mut self, entry: &Entry, recovered: bool) {
        let Ticket::Spooled { queue, ordinal } = entry.ticket else { return };
        let sequence = self.spool.sequence_of(queue.spool(), ordinal);
        let known = sequence.and_then(|sequence| self.trace.take_recorded(sequence, queue));
        let Some(id) = known.or_else(|| self.trace.logs.then(|| self.trace.begin())) else { return };
        self.trace.spooled.insert((queue, ordinal), id);
        let target = self.target_of(queue);
        debug!(id, target, topic = %shown(&entry.message), recovered, "durable, and waits for its target");
        self.trace.following.step(id, None, Some(&target), || What::Durable);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_sent(&mut self, to: BrokerId, ticket: Ticket, message: &Message) {
        let Some(id) = self.trace.id_of(ticket, Some(message)) else { return };
        let broker = &self.brokers[to.at()].name;
        debug!(id, broker = &**broker, topic = %shown(message), qos = message.qos as u8, "sent");
        let target = self.target_of_ticket(ticket, Some(to));
        self.trace.following.step(id, None, target.as_deref(), || What::Sent { broker: broker.clone() });
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_completed(&mut self, by: BrokerId, ticket: Ticket, taken: bool) {
        let Some(id) = self.trace.id_of(ticket, None) else { return };
        let broker = &self.brokers[by.at()].name;
        debug!(id, broker = &**broker, taken, "acknowledged by its target");
        let target = self.target_of_ticket(ticket, Some(by));
        let acknowledged = || What::Acknowledged { broker: broker.clone(), taken };
        self.trace.following.step(id, None, target.as_deref(), acknowledged);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_dropped(&mut self, ticket: Ticket, message: Option<&Message>, reason: DropReason<'_>) {
        let Some(id) = self.trace.id_of(ticket, message) else { return };
        debug!(id, reason = reason.word(), "ends on its way to a target");
        let target = self.target_of_ticket(ticket, None);
        let ended = || What::Ended { reason: reason.word().into() };
        self.trace.following.step(id, None, target.as_deref(), ended);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_put_aside(&mut self, ticket: Ticket, message: &Message, number: u64) {
        let Some(id) = self.trace.id_of(ticket, Some(message)) else { return };
        debug!(id, number, "put aside on its way to a target");
        let target = self.target_of_ticket(ticket, None);
        self.trace.following.step(id, None, target.as_deref(), || What::Parked { number });
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_ended(&mut self, part: Part, reason: DropReason<'_>) {
        let known = part.debt.and_then(|debt| self.trace.debts.get(&debt).copied());
        let Some(id) = known.or(self.trace.current) else { return };
        let route = &self.routes[part.route.at()].name;
        debug!(id, route = &**route, reason = reason.word(), "ends in its route");
        self.trace.following.step(id, Some(route), None, || What::Ended { reason: reason.word().into() });
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_twin(&mut self, route: RouteId, first: Option<DebtId>) {
        let Some(id) = self.trace.current else { return };
        let route = &self.routes[route.at()].name;
        let waits_for = first.and_then(|first| self.trace.debts.get(&first).copied());
        debug!(id, route = &**route, waits_for, "another broker has brought it already");
        self.trace.following.step(id, Some(route), None, || What::Twin);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn trace_settled(&mut self, debt: DebtId, to: &Creditor<A>) {
        let Some(id) = self.trace.debts.remove(&debt) else { return };
        if let Creditor::Source(source, _) = to {
            debug!(id, broker = &*self.brokers[source.at()].name, "acknowledged to its source");
            self.trace.following.step(id, None, None, || What::Settled);
        }
        self.trace.following.closes(id);
    }
}

/// For the log.
fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Onward => "onward".to_owned(),
        Verdict::Outputs(outputs) => {
            let topics: Vec<String> = outputs.iter().map(|(_, message)| shown(message).to_string()).collect();
            format!("{} instead of it: {}", topics.len(), topics.join(", "))
        }
        Verdict::Drop(reason) => format!("drop: {reason:?}"),
        Verdict::Failed => "failed".to_owned(),
        Verdict::Park(why) => format!("park: {} of {}", why.kind, why.plugin),
    }
}

const fn outcome(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Onward => Outcome::Onward,
        Verdict::Outputs(_) => Outcome::Replaced,
        Verdict::Drop(_) => Outcome::Dropped,
        Verdict::Failed => Outcome::Failed,
        Verdict::Park(_) => Outcome::Parked,
    }
}
