//! Step 6, the other end of the lane: what a target's session has room for leaves.
//!
//! In: entries. Out: one message after another, each with its ticket.

use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::BrokerId;
use crate::lane::{Entry, Pushed};
use crate::ticket::Ticket;
use crate::{Moment, Router};
use tidegate_message::{ByteString, Message, Properties, QoS};

/// A message that has waited this long is one of a backlog, in microseconds: `drain_rate` is about those.
const LATE_US: u64 = 1_000_000;

/// The user property that says how late a message is, in seconds.
const LATE: ByteString = ByteString::from_static("tidegate-late");

impl<A: Ack> Router<A> {
    /// Into the lane of one broker, which is configured.
    pub(crate) fn push(&mut self, to: BrokerId, entry: Entry, now: Moment) {
        let broker = &mut self.brokers[to.at()];
        if broker.is_gone {
            return self.drop_ticket(entry.ticket, DropReason::TargetRemoved);
        }
        let ticket = entry.ticket;
        match broker.lane.push(entry, now.at) {
            Pushed::Taken => {}
            Pushed::HoldBack(until) => {
                // Only what is loose can fill a lane.
                if let Ticket::Loose { route, .. } | Ticket::Held { route, .. } = ticket {
                    let source = self.routes[route.at()].source;
                    self.hold_back(source, until);
                }
            }
            Pushed::Dropped(oldest) => self.drop_ticket(oldest.ticket, DropReason::LaneFull),
        }
        self.touch(to);
    }

    /// The next message for a broker. QoS 1 and 2 only with room in its session's window.
    // The one call for each message: its caller takes the message where it lies.
    #[inline(always)]
    pub fn pull(&mut self, from: BrokerId, mut has_room: bool, now: Moment) -> Option<(Ticket, Message)> {
        has_room &= !self.brokers[from.at()].rest.lasts(now.at);
        loop {
            let broker = &mut self.brokers[from.at()];
            let held_back = broker.lane.holds_back(now.at);
            let late = now.us.saturating_sub(LATE_US);
            let may_drain = broker.pace.as_mut().is_none_or(|pace| pace.admits(now.at));
            broker.paced = !may_drain;
            let Entry { mut message, ticket, received_us, .. } =
                broker.lane.pop(has_room, (!may_drain).then_some(late))?;
            if let Some(pace) = broker.pace.as_mut().filter(|_| received_us < late) {
                pace.take();
            }
            if held_back && !broker.lane.holds_back(now.at) {
                self.wants_look = true;
            }
            let waited_us = now.us.saturating_sub(received_us);
            if !count_down(&mut message, waited_us) {
                self.drop_ticket(ticket, DropReason::Expired);
                continue;
            }
            match ticket {
                Ticket::Spooled { queue, .. } => {
                    let settings = &self.queues[queue.at()].settings;
                    if settings.max_age.is_some_and(|age| u128::from(waited_us) >= age.as_micros()) {
                        self.drop_ticket(ticket, DropReason::TooOld);
                        continue;
                    }
                    if settings.mark_late.is_some_and(|late| u128::from(waited_us) >= late.as_micros()) {
                        mark_late(&mut message, waited_us / 1_000_000);
                    }
                }
                Ticket::Held { route, .. } | Ticket::Loose { route, .. } if message.qos == QoS::AtMostOnce => {
                    self.routes[route.at()].account.latency.record(waited_us);
                }
                Ticket::Held { .. } | Ticket::Loose { .. } => {}
            }
            if self.brokers[from.at()].echo.in_ring {
                self.note_sent(from, &message, now.at);
            }
            if self.trace.is_on() {
                self.trace_sent(from, ticket, &message);
            }
            return Some((ticket, message));
        }
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

fn mark_late(message: &mut Message, seconds: u64) {
    let properties = message.properties.get_or_insert_with(|| Box::new(Properties::default()));
    properties.user.push((LATE, ByteString::from(seconds.to_string())));
}
