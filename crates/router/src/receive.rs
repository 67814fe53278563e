//! Step 1, receive: a source's messages become debts, and each enters the routes that want it.
//!
//! In: what a broker sent, in one batch. Out: parcels for the plugins of a route, or, in a route without any, step 4 at
//! once: by the short way (`straight`) if the message is alone.
//!
//! Functions through which every message passes by value are `inline(always)` here and in the next steps: each call that is
//! not inlined copies a message of 100 bytes, which together cost a fifth of all that a message costs.

use crate::account::DropReason;
use crate::audience::Audience;
use crate::debt::{Ack, Creditor};
use crate::ids::{BrokerId, DebtId, RouteId};
use crate::parcel::Parcel;
use crate::pressure::{HOLD_BACK, PIPELINE_MAX};
use crate::sessions::Sessions;
use crate::{Moment, Router};
use tidegate_message::{Message, TopicId};

/// What a broker sent.
#[derive(Debug)]
pub struct Arrival<A> {
    /// As it came.
    pub message: Message,
    /// For the acknowledgement; `None` if the source waits for none.
    pub ack: Option<A>,
    /// The source says that it may have sent it before.
    pub redelivered: bool,
    /// The identifier of the subscription that it came for (MQTT 5.0 section 3.3.2.3.8), if ours have any.
    pub subscription_id: Option<u32>,
    /// Which of the routes that match get it.
    pub audience: Audience,
    /// Of its topic, if that has one.
    pub topic_id: Option<TopicId>,
}

/// Parcels are numbered below this: some plugin languages hold no whole number above 2^53, and messages made on a tick have
/// the upper half.
const IDS: u64 = 1 << 52;

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Takes one batch from a broker. `wall_ms` is what the machine's clock says, in milliseconds since the epoch.
    pub fn received(&mut self, from: BrokerId, arrivals: impl Iterator<Item = Arrival<A>>, now: Moment, wall_ms: u64) {
        self.trace.look();
        if (self.taps.are_there() || self.trace.is_on()) && self.taps.tick(now.at) {
            self.refill_followers();
        }
        for arrival in arrivals {
            self.receive(from, arrival, now, wall_ms);
        }
        self.bound_held_bytes(from, now);
    }

    #[inline(always)]
    fn receive(&mut self, from: BrokerId, arrival: Arrival<A>, now: Moment, wall_ms: u64) {
        let Arrival { mut message, ack, redelivered, subscription_id, mut audience, topic_id } = arrival;
        if let Some(id) = subscription_id
            && self.brokers[from.at()].is_copy(&message, id, &mut audience)
        {
            return self.acknowledge(from, ack);
        }
        if self.brokers[from.at()].echo.is_on() && self.is_echo(from, &message, now.at) || !self.passes(from, &message)
        {
            return self.acknowledge(from, ack);
        }
        let broker = &mut self.brokers[from.at()];
        broker.received += 1;
        if self.draining {
            // Not acknowledged: a broker that keeps our session sends it again after the restart.
            return;
        }
        let ways = broker.topics.ways(&message.topic, topic_id, &self.hasher);
        let wanting;
        let mut routes = &ways.routes[..];
        if audience != Audience::All && !routes.is_empty() {
            wanting = audience.of(routes, &self.routes);
            if wanting.is_empty() {
                return self.acknowledge(from, ack);
            }
            routes = &wanting;
        }
        let Some((last, others)) = routes.split_last() else {
            broker.unrouted += 1;
            if broker.unrouted == 1 {
                tracing::warn!(
                    name: "unrouted",
                    broker = &*broker.name,
                    topic = %message.topic.as_str().escape_debug(),
                    "a message that no route wants: the broker's session has a subscription that is not ours any more, \
                     or never was; counted as tidegate_broker_unrouted_total"
                );
            }
            if self.trace.is_on() {
                self.trace_received(from, &mut message, &[]);
            }
            if self.taps.is_on {
                self.tap_enters(from, None, &message, now);
                self.tap_leaves(now);
            }
            return self.acknowledge(from, ack);
        };
        if self.trace.is_on() {
            self.trace_received(from, &mut message, routes);
        }
        if self.brokers[from.at()].merges && routes.iter().any(|route| self.routes[route.at()].window.is_some()) {
            let arrival = Arrival { message, ack, redelivered, subscription_id, audience, topic_id };
            return self.receive_merged(from, routes, arrival, now, wall_ms);
        }
        let weight_bytes = message.weight_bytes();
        for route in routes {
            self.watch(*route, &message, redelivered, now);
        }
        if others.is_empty()
            && routes.len() == ways.routes.len()
            && let Some(to) = self.straight_to(from, *last, ack, &ways, &mut message)
        {
            return self.go_straight(from, *last, to, weight_bytes, message, now);
        }
        let debt = self.owe(from, ack, weight_bytes, routes, now);
        if self.trace.is_about_one() {
            self.trace_owed(debt);
        }
        for route in others {
            self.enter_seen(from, *route, message.clone(), debt, redelivered, now, wall_ms);
        }
        self.enter_seen(from, *last, message, debt, redelivered, now, wall_ms);
    }

    /// The same as [`enter`](Self::enter), for whoever looks.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a message by value goes to where it is used at once")]
    pub(crate) fn enter_seen(
        &mut self,
        from: BrokerId,
        at: RouteId,
        message: Message,
        debt: Option<DebtId>,
        redelivered: bool,
        now: Moment,
        wall_ms: u64,
    ) {
        if self.taps.is_on {
            self.tap_enters(from, Some(at), &message, now);
        }
        self.enter(at, message, debt, redelivered, now, wall_ms);
        if self.taps.is_about_one() {
            self.tap_leaves(now);
        }
    }

    /// The debt for a message that is for some routes, if its source waits.
    #[inline(always)]
    pub(crate) fn owe(
        &mut self,
        from: BrokerId,
        ack: Option<A>,
        weight_bytes: usize,
        routes: &[RouteId],
        now: Moment,
    ) -> Option<DebtId> {
        let ack = ack?;
        self.brokers[from.at()].held_bytes += weight_bytes;
        let debt = self.debts.insert(Creditor::Source(from, ack), now.us, weight_bytes);
        self.debts.expect(debt, routes.len() as u32 - 1);
        Some(debt)
    }

    /// A message enters a route.
    #[inline(always)]
    pub(crate) fn enter(
        &mut self,
        at: RouteId,
        message: Message,
        debt: Option<DebtId>,
        redelivered: bool,
        now: Moment,
        wall_ms: u64,
    ) {
        let route = &mut self.routes[at.at()];
        route.account.received += 1;
        route.account.in_flight += 1;
        if route.sifts && !redelivered && self.has_carried(at, &message, now) {
            let part = self.part(at, debt, now.us);
            return self.end(part, &message.topic, DropReason::Ring);
        }
        let route = &self.routes[at.at()];
        if !route.is_direct() || route.on_trial {
            let on_trial = route.on_trial;
            let id = self.new_id();
            let parcel = Parcel { message, debt, id, received_ms: wall_ms, received_us: now.us, redelivered };
            let parcel = if on_trial { self.try_message(parcel, at, now) } else { Some(parcel) };
            return parcel.into_iter().for_each(|parcel| self.go_in(at, parcel, now));
        }
        let part = self.part(at, debt, now.us);
        self.onward(part, message, now);
    }

    /// A message that is for plugins, or was held back, goes on.
    pub(crate) fn go_in(&mut self, at: RouteId, parcel: Parcel, now: Moment) {
        if !self.routes[at.at()].is_direct() {
            return self.give_to_plugins(at, parcel, now);
        }
        let part = self.part(at, parcel.debt, parcel.received_us);
        self.onward(part, parcel.message, now);
    }

    /// A message is for the plugins of its route.
    pub(crate) fn give_to_plugins(&mut self, at: RouteId, parcel: Parcel, now: Moment) {
        if self.trace.is_about_one() {
            self.trace_parcel(at, &parcel);
        }
        if self.taps.is_about_one() {
            self.tap_parcel(&parcel);
        }
        let route = &mut self.routes[at.at()];
        route.in_pipeline += 1;
        route.parcels.push(parcel);
        if !std::mem::replace(&mut route.dirty, true) {
            self.dirty_routes.push(at);
        }
        if route.in_pipeline > PIPELINE_MAX {
            let until = *route.full_since.get_or_insert(now.at) + HOLD_BACK;
            if now.at < until {
                self.hold_back_sources(at, until);
            }
        }
    }

    /// Hands the parcels of each route that has new ones to its plugins: `give` takes all of them, and returns those that
    /// it had to drop to keep within a number of parcels, all of them without a debt. Returns whether there were any, and
    /// all of them few: worth waiting a moment for.
    pub fn hand_over(
        &mut self,
        now: Moment,
        few: usize,
        mut give: impl FnMut(RouteId, &mut Vec<Parcel>, usize) -> Vec<Parcel>,
    ) -> bool {
        if self.drafts.is_overgrown() {
            // What is decided together is to be recorded first: more decisions would only be added to it.
            return false;
        }
        self.drops.tick(now.at);
        let mut are_few = !self.dirty_routes.is_empty();
        while let Some(at) = self.dirty_routes.pop() {
            let route = &mut self.routes[at.at()];
            route.dirty = false;
            are_few &= route.in_pipeline <= few;
            let over = route.full_since.is_some_and(|since| now.at >= since + HOLD_BACK);
            // While sources hold back, what they had read already must go somewhere.
            let max = if over { PIPELINE_MAX } else { 4 * PIPELINE_MAX };
            let dropped = give(at, &mut route.parcels, max);
            route.in_pipeline -= dropped.len();
            for parcel in dropped {
                let part = self.part(at, parcel.debt, parcel.received_us);
                if self.trace.is_on() {
                    self.trace_undecided(&parcel);
                }
                if self.taps_follow() {
                    self.tap_returns(parcel.id, None);
                }
                self.end(part, &parcel.message.topic, DropReason::PipelineFull);
                if self.taps.is_about_one() {
                    self.tap_leaves(now);
                }
            }
        }
        are_few
    }

    /// A number for a parcel, as no other has.
    pub(crate) fn new_id(&mut self) -> u64 {
        self.next_id = (self.next_id + 1) % IDS;
        self.next_id
    }

    /// A source may be told that its message is taken care of.
    pub(crate) fn acknowledge(&mut self, source: BrokerId, ack: Option<A>) {
        let Some(ack) = ack else { return };
        let broker = &mut self.brokers[source.at()];
        // One that is gone, or is another by now, waits for nothing.
        if !broker.is_gone {
            broker.acks.push(ack);
            self.touch(source);
        }
    }
}
