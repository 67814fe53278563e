//! Step 6, the other end of the lane: what a target's session has room for leaves, at once if nothing waits before it.
//!
//! In: entries. Out: messages in sessions, or in lanes and later one after another, each with its ticket.

use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::BrokerId;
use crate::lane::{Entry, Pushed};
use crate::sessions::{Published, Sessions};
use crate::ticket::Ticket;
use crate::{Moment, Router};
use tidegate_message::{ByteString, Message, Properties, QoS};

/// A message that has waited this long is one of a backlog, in microseconds: `drain_rate` is about those.
const LATE_US: u64 = 1_000_000;

/// The user property that says how late a message is, in seconds.
const LATE: ByteString = ByteString::from_static("tidegate-late");

impl<A: Ack, S: Sessions> Router<A, S> {
    /// To one broker, which is configured: at once where its session takes it and nothing waits before it, or into its lane.
    // Inlined, as the message goes by value.
    #[inline(always)]
    pub(crate) fn push(&mut self, to: BrokerId, entry: Entry, now: Moment) {
        let broker = &self.brokers[to.at()];
        let waits = !broker.lane.is_empty()
            || broker.pace.is_some()
            || broker.rest.lasts(now.at)
            || broker.is_gone
            || broker.paused
            || broker.may_leave.is_some();
        if !waits && self.sessions.takes(to, &entry.message) {
            return self.publish(to, entry, now);
        }
        self.wait(to, entry, now);
    }

    #[inline(always)]
    fn publish(&mut self, to: BrokerId, mut entry: Entry, now: Moment) {
        if let Err(reason) = self.leaves(to, &mut entry, now) {
            return self.drop_entry(&entry, reason);
        }
        let Entry { message, ticket, .. } = entry;
        match self.sessions.publish(to, ticket.key(), message) {
            Ok(Published::Written) => {
                self.brokers[to.at()].sent += 1;
                self.complete(ticket, now);
            }
            Ok(Published::InFlight { serial }) => {
                self.brokers[to.at()].pulse.sent(ticket.key(), now.at);
                if let Some(serial) = serial {
                    self.sent(to, ticket, serial);
                }
            }
            Err(reason) => self.drop_ticket(ticket, None, reason),
        }
        self.touch(to);
    }

    /// Into the lane of a broker.
    fn wait(&mut self, to: BrokerId, entry: Entry, now: Moment) {
        let broker = &mut self.brokers[to.at()];
        if broker.is_gone {
            return self.drop_entry(&entry, DropReason::TargetRemoved);
        }
        let ticket = entry.ticket;
        match broker.lane.push(entry, now.at) {
            Pushed::Taken => {}
            Pushed::HoldBack(until) => {
                // Only what is loose can fill a lane.
                if let Ticket::Loose { route, .. } | Ticket::Held { route, .. } = ticket {
                    self.hold_back_sources(route, until);
                }
            }
            Pushed::Dropped(oldest) => self.drop_entry(&oldest, DropReason::LaneFull),
        }
        self.touch(to);
    }

    /// The next message for a broker. QoS 1 and 2 only with room in its session's window.
    // The one call for each message that has waited: its caller takes the message where it lies.
    #[inline(always)]
    pub fn pull(&mut self, from: BrokerId, mut has_room: bool, now: Moment) -> Option<(Ticket, Message)> {
        if self.brokers[from.at()].is_kept_from() {
            return None;
        }
        if let Some(left) = self.brokers[from.at()].may_leave.as_mut() {
            *left -= 1;
        }
        has_room &= !self.brokers[from.at()].rest.lasts(now.at);
        loop {
            let broker = &mut self.brokers[from.at()];
            let held_back = broker.lane.holds_back(now.at);
            let late = now.us.saturating_sub(LATE_US);
            let may_drain = broker.pace.as_ref().is_none_or(|pace| pace.admits(now.at));
            broker.paced = !may_drain;
            let mut entry = broker.lane.pop(has_room, (!may_drain).then_some(late))?;
            if let Some(pace) = broker.pace.as_mut().filter(|_| entry.received_us < late) {
                pace.take(now.at);
            }
            if held_back && !broker.lane.holds_back(now.at) {
                self.wants_look = true;
            }
            match self.leaves(from, &mut entry, now) {
                Ok(()) => {
                    if entry.message.qos > QoS::AtMostOnce {
                        self.brokers[from.at()].pulse.sent(entry.ticket.key(), now.at);
                    }
                    return Some((entry.ticket, entry.message));
                }
                Err(reason) => self.drop_entry(&entry, reason),
            }
        }
    }

    /// A message is about to leave: it becomes what its target is to see of it.
    ///
    /// # Errors
    /// It has waited for too long.
    #[inline(always)]
    fn leaves(&mut self, to: BrokerId, entry: &mut Entry, now: Moment) -> Result<(), DropReason<'static>> {
        let Entry { message, ticket, received_us, .. } = entry;
        let waited_us = now.us.saturating_sub(*received_us);
        if !count_down(message, waited_us) {
            return Err(DropReason::Expired);
        }
        match *ticket {
            Ticket::Spooled { queue, .. } => {
                let settings = &self.queues[queue.at()].settings;
                if settings.max_age.is_some_and(|age| u128::from(waited_us) >= age.as_micros()) {
                    return Err(DropReason::TooOld);
                }
                if settings.mark_late.is_some_and(|late| u128::from(waited_us) >= late.as_micros()) {
                    mark_late(message, waited_us / 1_000_000);
                }
            }
            Ticket::Held { route, .. } | Ticket::Loose { route, .. } if message.qos == QoS::AtMostOnce => {
                self.routes[route.at()].account.latency.record(waited_us);
            }
            Ticket::Held { .. } | Ticket::Loose { .. } => {}
        }
        self.hop(to, &mut entry.message)?;
        if self.brokers[to.at()].echo.is_on() {
            self.expect_echo(to, &entry.message, now.at);
        }
        if self.trace.is_on() {
            self.trace_sent(to, entry.ticket, &entry.message);
        }
        Ok(())
    }
}

/// The message expiry interval counts down while a message waits (MQTT 5.0 section 3.3.2.3.3). False when it has passed.
#[inline]
fn count_down(message: &mut Message, waited_us: u64) -> bool {
    let Some(expiry) = message.properties.as_mut().and_then(|found| found.message_expiry_seconds.as_mut()) else {
        return true;
    };
    match u64::from(*expiry).checked_sub(waited_us / 1_000_000).filter(|left| *left > 0) {
        Some(left) => {
            *expiry = left as u32;
            true
        }
        None => false,
    }
}

/// A message that was pulled and is to wait again: what [`count_down`] will take off for all that it has waited by then must not
/// be taken off twice. How long it was in the session is not known, and not counted.
pub(crate) fn count_up(message: &mut Message, waited_us: u64) {
    if let Some(expiry) = message.properties.as_mut().and_then(|found| found.message_expiry_seconds.as_mut()) {
        *expiry = expiry.saturating_add(u32::try_from(waited_us / 1_000_000).unwrap_or(u32::MAX));
    }
}

/// Says how late a message is; one that is sent again says it anew.
fn mark_late(message: &mut Message, seconds: u64) {
    let properties = message.properties.get_or_insert_with(|| Box::new(Properties::default()));
    properties.user.retain(|(name, _)| *name != LATE);
    properties.user.push((LATE, ByteString::from(seconds.to_string())));
}
