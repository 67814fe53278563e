//! What becomes of a message that is not taken.
//!
//! A publisher is told as far as its protocol can say it (MQTT 5), is acknowledged where it cannot (3.x), and never
//! hung up on: it would come back with the same message. Each one is counted, and named in the log within bounds.

use crate::broker_state::BrokerState;
use crate::publisher::Publisher;
use crate::refusal::Refusal;
use crate::session::SessionKey;
use std::fmt;
use std::time::Instant;
use tidegate_message::Topic;
use tidegate_message::text::Escaped;
use tidegate_mqtt::Skipped;

impl BrokerState {
    /// Counts a message that is not taken, and names it in the log.
    pub(crate) fn refuse(&mut self, publisher: Publisher, topic: &Topic, refusal: Refusal, now: Instant) {
        let dropped = &mut self.stats.dropped;
        match refusal {
            Refusal::Forbidden(_) => dropped.forbidden += 1,
            Refusal::Character { .. } => dropped.control_characters += 1,
            Refusal::TooDeep => dropped.too_deep += 1,
        }
        self.name_refused(publisher, topic.as_str(), &refusal, now);
    }

    /// Counts a packet that the session has read past and answered, and names it in the log.
    pub(crate) fn on_skipped(&mut self, key: SessionKey, skipped: &Skipped, now: Instant) {
        self.stats.dropped.unusable += 1;
        let reason = format_args!("{} ({} bytes)", skipped.error, skipped.size_bytes);
        self.name_refused(Publisher::Session(key.slot), skipped.topic.as_deref().unwrap_or_default(), &reason, now);
    }

    /// Counts that a client is held up, and names it in the log.
    pub(crate) fn on_held_up(&mut self, key: SessionKey, now: Instant) {
        self.stats.held_up += 1;
        let Self { sessions, settings, refusals_log, .. } = self;
        let Some(session) = sessions.find_mut(key) else { return };
        session.counts.held_up += 1;
        if session.named.allow(refusals_log, now).is_some() {
            tracing::warn!(
                broker = %settings.name,
                client = %Escaped(&session.client_id),
                times = session.counts.held_up,
                "a client publishes faster than it may, and is read from more slowly; `message_rate` and `byte_rate` of the \
                 broker's `limits` say how fast"
            );
        }
    }

    fn name_refused(&mut self, publisher: Publisher, topic: &str, reason: &dyn fmt::Display, now: Instant) {
        let Self { sessions, locals, settings, refusals_log, .. } = self;
        let (client, named) = match publisher {
            Publisher::Session(slot) => match sessions.get_mut(slot) {
                Some(session) => {
                    session.counts.refused += 1;
                    (&*session.client_id, &mut session.named)
                }
                None => return,
            },
            Publisher::Local(local) => match locals.get_mut(local as usize) {
                Some(Some(slot)) => ("(the gateway)", &mut slot.named),
                _ => return,
            },
            Publisher::Broker => return,
        };
        if let Some(untold) = named.allow(refusals_log, now) {
            tracing::warn!(
                broker = %settings.name,
                client = %Escaped(client),
                topic = %Escaped(topic),
                %reason,
                refused_before = untold,
                "a message was refused"
            );
        }
    }
}
