//! `$SYS`: what the broker says of itself, on the topics that mosquitto has for the same things.
//!
//! The values are made up from the counters there are anyway when they are asked for, so a message costs nothing more.
//! Wildcards at the first level do not reach them (MQTT 5.0 section 4.7.2), clients cannot publish to them, and they
//! are kept apart from what clients retain: no quota counts them.

use crate::load::Load;
use crate::publisher::RetainedBy;
use crate::retained::{Retained, RetainedMessages};
use crate::stats::Stats;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, Topic, TopicFilter};

/// The shortest interval, whatever the settings say.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The first level of all of them.
const FIRST_LEVEL: &str = "$SYS";

/// Says one thing about the broker: from its counters, and for how long it has been there.
type Say = fn(&Stats, Duration) -> String;

/// Messages are PUBLISH packets here, from and to clients, also where mosquitto counts packets of all kinds.
const TOPICS: [(&str, Say); 25] = [
    ("$SYS/broker/version", |_, _| concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned()),
    ("$SYS/broker/uptime", |_, up| format!("{} seconds", up.as_secs())),
    ("$SYS/broker/clients/connected", |stats, _| stats.connections.to_string()),
    ("$SYS/broker/clients/total", |stats, _| stats.sessions.to_string()),
    ("$SYS/broker/clients/disconnected", away),
    ("$SYS/broker/clients/maximum", |stats, _| stats.connections_max.to_string()),
    ("$SYS/broker/clients/expired", |stats, _| stats.expired.to_string()),
    // As mosquitto called them before.
    ("$SYS/broker/clients/active", |stats, _| stats.connections.to_string()),
    ("$SYS/broker/clients/inactive", away),
    ("$SYS/broker/messages/stored", kept),
    ("$SYS/broker/store/messages/count", kept),
    ("$SYS/broker/store/messages/bytes", |stats, _| (stats.queued_bytes + stats.retained_bytes).to_string()),
    ("$SYS/broker/bytes/received", |stats, _| stats.bytes_received.to_string()),
    ("$SYS/broker/bytes/sent", |stats, _| stats.bytes_sent.to_string()),
    ("$SYS/broker/publish/bytes/received", |stats, _| stats.payload_received.to_string()),
    ("$SYS/broker/publish/bytes/sent", |stats, _| stats.payload_sent.to_string()),
    ("$SYS/broker/shared_subscriptions/count", |stats, _| stats.shared_subscriptions.to_string()),
    ("$SYS/broker/messages/received", |stats, _| stats.received.to_string()),
    ("$SYS/broker/messages/sent", |stats, _| stats.sent.to_string()),
    ("$SYS/broker/messages/dropped", |stats, _| stats.dropped.total().to_string()),
    ("$SYS/broker/publish/messages/received", |stats, _| stats.received.to_string()),
    ("$SYS/broker/publish/messages/sent", |stats, _| stats.sent.to_string()),
    ("$SYS/broker/publish/messages/dropped", |stats, _| stats.dropped.total().to_string()),
    ("$SYS/broker/retained messages/count", |stats, _| stats.retained.to_string()),
    ("$SYS/broker/subscriptions/count", |stats, _| stats.subscriptions.to_string()),
];

/// Under this they are with what goes on a minute.
const LOAD: &str = "$SYS/broker/load/";

/// Sessions whose clients are away.
fn away(stats: &Stats, _: Duration) -> String {
    stats.sessions.saturating_sub(stats.connections).to_string()
}

/// Messages that wait for clients or are retained.
fn kept(stats: &Stats, _: Duration) -> String {
    (stats.queued + stats.retained).to_string()
}

/// What was said last.
#[derive(Debug)]
pub(crate) struct Sys {
    began: Instant,
    /// `None` before the first time.
    said_at: Option<Instant>,
    retained: RetainedMessages,
    load: Load,
}

impl Sys {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, said_at: None, retained: RetainedMessages::default(), load: Load::new(now) }
    }

    /// When the next time is: now, if none has been yet.
    pub(crate) fn next_at(&self, interval: Duration, now: Instant) -> Instant {
        self.said_at.map_or(now, |at| at + interval.max(INTERVAL_MIN))
    }

    /// Says everything anew. Returns what has changed, to be told to those who have subscribed to it.
    pub(crate) fn renew(&mut self, stats: &Stats, now: Instant) -> Vec<Message> {
        let up = now.saturating_duration_since(self.began);
        self.said_at = Some(now);
        self.load.renew(stats, now);
        let load = self.load.said().map(|(name, value)| (format!("{LOAD}{name}"), value)).collect::<Vec<_>>();
        let said = TOPICS.iter().map(|(topic, say)| ((*topic).to_owned(), say(stats, up)));
        let mut changed = Vec::new();
        for (topic, value) in said.chain(load) {
            let Ok(topic) = Topic::new(topic) else { continue };
            if self.retained.get(&topic).is_some_and(|said| *said.message.payload == *value.as_bytes()) {
                continue;
            }
            // Nobody is to wait for it, and it is not to wait for anybody: soon there is another.
            let message = Message { retain: true, ..Message::new(topic, value, QoS::AtMostOnce) };
            let publisher = RetainedBy::Broker;
            let retained = Retained { message: message.clone(), publisher, expires: None, item: None, serial: 0 };
            self.retained.set(retained, usize::MAX, usize::MAX, now);
            changed.push(message);
        }
        changed
    }

    /// Calls `found` with everything that was said on topics that match.
    pub(crate) fn for_each_match(&self, filter: &TopicFilter, now: Instant, found: impl FnMut(&Retained)) {
        if is_about_sys(filter) {
            self.retained.for_each_match(filter, now, found);
        }
    }
}

/// Whether this topic is one of the broker's own.
pub(crate) fn speaks_on(topic: &Topic) -> bool {
    topic.is_reserved() && (topic.as_str().starts_with(LOAD) || TOPICS.iter().any(|(own, _)| *own == topic.as_str()))
}

/// Whether somebody who subscribes to this may be sent one of them.
pub(crate) fn is_about_sys(filter: &TopicFilter) -> bool {
    filter.pattern().starts_with(FIRST_LEVEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_of_ours_is_a_topic_under_sys_and_there_once() {
        let all = TopicFilter::new("$SYS/#").unwrap();
        for (at, (topic, _)) in TOPICS.iter().enumerate() {
            assert!(TOPICS[..at].iter().all(|(other, _)| other != topic), "{topic}");
            let topic = Topic::new(*topic).unwrap();
            assert!(all.matches(&topic) && speaks_on(&topic), "{topic}");
        }
        assert!(!speaks_on(&Topic::new("$SYS/broker").unwrap()));
    }
}
