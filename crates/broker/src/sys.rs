//! `$SYS`: what the broker says of itself, on the topics that mosquitto has for the same things.
//!
//! The values are made up from the counters there are anyway when they are asked for, so a message costs nothing more.
//! Wildcards at the first level do not reach them (MQTT 5.0 section 4.7.2), clients cannot publish to them, and they
//! are kept apart from what clients retain: no quota counts them.

use crate::publish::Source;
use crate::retained::{Publisher, Retained, RetainedMessages};
use crate::state::State;
use crate::stats::Stats;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, Topic, TopicFilter};

/// The shortest interval, whatever the settings say.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The first level of all of them.
const FIRST_LEVEL: &str = "$SYS";

/// Says one thing about the broker: from its counters, and for how long it has been there.
type Say = fn(&Stats, Duration) -> String;

/// Messages are PUBLISH packets here, from and to clients.
const TOPICS: [(&str, Say); 12] = [
    ("$SYS/broker/version", |_, _| concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned()),
    ("$SYS/broker/uptime", |_, up| format!("{} seconds", up.as_secs())),
    ("$SYS/broker/clients/connected", |stats, _| stats.connections.to_string()),
    ("$SYS/broker/clients/total", |stats, _| stats.sessions.to_string()),
    ("$SYS/broker/messages/received", |stats, _| stats.received.to_string()),
    ("$SYS/broker/messages/sent", |stats, _| stats.sent.to_string()),
    ("$SYS/broker/messages/dropped", |stats, _| stats.dropped.total().to_string()),
    ("$SYS/broker/publish/messages/received", |stats, _| stats.received.to_string()),
    ("$SYS/broker/publish/messages/sent", |stats, _| stats.sent.to_string()),
    ("$SYS/broker/publish/messages/dropped", |stats, _| stats.dropped.total().to_string()),
    ("$SYS/broker/retained messages/count", |stats, _| stats.retained.to_string()),
    ("$SYS/broker/subscriptions/count", |stats, _| stats.subscriptions.to_string()),
];

/// What was said last.
#[derive(Debug)]
pub(crate) struct Sys {
    began: Instant,
    /// `None` before the first time.
    said_at: Option<Instant>,
    retained: RetainedMessages,
}

impl Sys {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, said_at: None, retained: RetainedMessages::default() }
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
    topic.is_reserved() && TOPICS.iter().any(|(own, _)| *own == topic.as_str())
}

fn is_about_sys(filter: &TopicFilter) -> bool {
    filter.pattern().starts_with(FIRST_LEVEL)
}

impl State {
    /// Publishes what has changed, when it is time; returns when to be called next.
    pub(crate) fn say_sys(&mut self, now: Instant) -> Instant {
        let interval = self.settings.sys_interval.max(INTERVAL_MIN);
        match self.sys.said_at.map(|at| at + interval) {
            Some(next) if next > now => next,
            _ => {
                self.say_sys_now(now);
                now + interval
            }
        }
    }

    /// Before somebody subscribes to these: what it will find is fresh.
    pub(crate) fn refresh_sys<'a>(&mut self, filters: impl IntoIterator<Item = &'a TopicFilter>, now: Instant) {
        if filters.into_iter().any(is_about_sys) {
            self.say_sys_now(now);
        }
    }

    fn say_sys_now(&mut self, now: Instant) {
        let stats = self.stats();
        let up = now.saturating_duration_since(self.sys.began);
        self.sys.said_at = Some(now);
        for (topic, say) in TOPICS {
            let value = say(&stats, up);
            let Ok(topic) = Topic::new(topic) else { continue };
            if self.sys.retained.get(&topic).is_some_and(|said| *said.message.payload == *value.as_bytes()) {
                continue;
            }
            // Nobody is to wait for it, and it is not to wait for anybody: soon there is another.
            let message = Message { retain: true, ..Message::new(topic, value, QoS::AtMostOnce) };
            let retained = Retained { message: message.clone(), publisher: Publisher::Broker, expires: None };
            self.sys.retained.set(retained, TOPICS.len(), usize::MAX, now);
            self.distribute(message, Source::Broker, None, now);
        }
    }
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
