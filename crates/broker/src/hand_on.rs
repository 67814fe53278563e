//! What a member of a group had not acknowledged when its session ended goes to another one (MQTT 5.0 section 4.8.2).
//!
//! Not a message of QoS 2 that it had been sent: it may have it, and another must not get it then (MQTT-4.8.2-5).

use crate::broker_state::BrokerState;
use crate::expiry::set_remaining;
use crate::parcel::Parcel;
use crate::publisher::Publisher;
use crate::recording::Recorded;
use crate::session::Session;
use std::time::Instant;
use tidegate_message::{Message, QoS};

/// What is left over of an ended session.
#[derive(Default)]
pub(crate) struct Leftover {
    /// In the order in which they were for the member: the serial of the group, and the message.
    shared: Vec<(u32, Message)>,
    /// How many waited, and are for nobody else.
    pub(crate) dropped: usize,
}

impl BrokerState {
    /// Takes the messages out of a session that ends.
    pub(crate) fn take_leftover(&mut self, slot: u32, now: Instant) -> Leftover {
        let Some(session) = self.sessions.get_mut(slot) else { return Leftover::default() };
        let mut left = Leftover { shared: in_flight_of(session), dropped: 0 };
        for mut waiting in session.queue.take_all(&mut self.queued) {
            if waiting.group == 0 {
                left.dropped += 1;
            } else if set_remaining(&mut waiting.message, waiting.expires, now) {
                left.shared.push((waiting.group, waiting.message));
            } else {
                self.stats.dropped.expired += 1;
            }
        }
        left
    }

    /// Gives them to the members that are left, once the one that has left is none any more. Returns how many are for nobody.
    pub(crate) fn hand_on(&mut self, left: Leftover, now: Instant) -> usize {
        let mut dropped = left.dropped;
        for (serial, message) in left.shared {
            match self.groups.with_serial(serial) {
                Some(group) => {
                    let mut parcel = Parcel::new(&message, now);
                    self.deliver_to_group(group, &mut parcel);
                    self.keep_message(parcel, Publisher::Broker, Recorded::default(), now);
                }
                None => dropped += 1,
            }
        }
        dropped
    }
}

fn in_flight_of(session: &mut Session) -> Vec<(u32, Message)> {
    let unfinished = session.flow.as_mut().map(|flow| flow.take_unfinished()).unwrap_or_default();
    let in_flight = &session.in_flight;
    let shared = unfinished.into_iter().map(|(key, message)| (in_flight.get(key).map_or(0, |one| one.group), message));
    shared.filter(|(group, message)| *group != 0 && message.qos == QoS::AtLeastOnce).collect()
}
