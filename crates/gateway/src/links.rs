//! What links tell of their brokers, and what becomes of it: messages that a broker refuses or hangs up on, packets that
//! cannot be taken, habits, and what must be remembered of a broker over a restart.

use crate::core::{Core, Kind, Target, Token};
use crate::deliver::ReplayError;
use crate::durable::PARKED_FOR_TARGET;
use crate::lane::{Entry, NO_ORIGIN, Tag};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_link::{GaveUp, Overdue, SubscriptionProblem};
use tidegate_message::Message;
use tidegate_mqtt::{ReasonCode, Refusal, Skipped};
use tidegate_spool::{DiskStatus, NameKind, Parked, StateWrite, Transaction};

/// Under this key a link's memory is in the state of its name in the log.
const MEMORY: &str = "link";

/// What a broker refuses for now is tried again after this long, then after twice as long, up to the longest.
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(60);

/// So many lines a kind of trouble and broker are logged in so long; the rest is counted.
const LINES: u32 = 10;
const LINES_EVERY: Duration = Duration::from_secs(10);

/// Bounds the lines that one kind of trouble may log.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    since: Option<Instant>,
    count: u32,
}

impl Lines {
    /// Whether one more may be logged, and how many were not since the last.
    fn admit(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| now >= since + LINES_EVERY) {
            let kept_back = self.count.saturating_sub(LINES);
            (self.since, self.count) = (Some(now), 1);
            return Some(kept_back);
        }
        self.count += 1;
        (self.count <= LINES).then_some(0)
    }
}

/// What is known of the broker at the end of a link, beside its messages.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// Messages from it that cannot be taken, by reason.
    pub(crate) skipped: BTreeMap<&'static str, u64>,
    skipped_lines: Lines,
    refused_lines: Lines,
    /// Until when nothing more is sent at QoS 1 and 2, and how often that was so in a row.
    rests_until: Option<Instant>,
    rests: u32,
    /// Why it rests.
    pub(crate) refusal: Option<String>,
    /// What was said of it at connecting.
    pub(crate) notes: Vec<String>,
}

impl Troubles {
    pub(crate) fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// A message has been taken.
    pub(crate) fn well(&mut self) {
        if self.rests > 0 {
            (self.rests, self.rests_until, self.refusal) = (0, None, None);
        }
    }
}

/// What a reason to wait may be: the broker will take the message later (MQTT 5.0 section 3.4.2.1).
const fn is_for_now(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::QUOTA_EXCEEDED | ReasonCode::SERVER_BUSY)
}

impl Core {
    /// What a link must know of its broker in another process; if `first`, before it writes on. Where the disk takes nothing
    /// that is not waited for: it costs a subscription that stays behind, at most.
    pub(crate) fn remember_link(&mut self, broker: u16, memory: &[u8], first: bool) {
        let slot = &mut self.brokers[usize::from(broker)];
        let Some(plugin) = slot.link_id else { return };
        let write = StateWrite { plugin, key: MEMORY.to_owned(), value: Some(memory.to_vec()) };
        let sequence = self.spool.append(Transaction { state: vec![write], ..Transaction::default() });
        if first && self.disk == DiskStatus::Good {
            let slot = &mut self.brokers[usize::from(broker)];
            slot.gate = slot.gate.max(sequence);
        }
        self.spool.flush();
    }

    /// Hands a link that is new what an earlier process knew of its broker.
    pub(crate) fn restore_link(&mut self, broker: u16) {
        let slot = &self.brokers[usize::from(broker)];
        let Kind::Link(handle) = &slot.kind else { return };
        if let Some(memory) = self.spool.state_of(NameKind::Link, &slot.name).and_then(|keys| keys.get(MEMORY)) {
            handle.restore_memory(memory);
        }
    }

    /// Messages from a broker that cannot be taken. They are acknowledged.
    pub(crate) fn skipped(&mut self, broker: u16, skipped: &[Skipped], now: Instant) {
        let slot = &mut self.brokers[usize::from(broker)];
        for one in skipped {
            slot.received += 1;
            *slot.troubles.skipped.entry(one.reason()).or_default() += 1;
            let Some(kept_back) = slot.troubles.skipped_lines.admit(now) else { continue };
            let hint = match one.reason() {
                "too_large" => "passed over and acknowledged; `max_packet_size` says how large a packet may be",
                _ => "passed over and acknowledged",
            };
            let topic = one.topic.as_deref().map(tidegate_link::shown);
            tracing::warn!(
                broker = &*slot.name,
                topic = topic.as_deref().unwrap_or("(unreadable)"),
                qos = one.qos as u8,
                packet_id = one.packet_id,
                bytes = one.size_bytes,
                error = %one.error,
                lines_kept_back = kept_back,
                "{hint}"
            );
        }
    }

    /// Messages that a broker has refused. Returns for how long it is left alone, if it is.
    pub(crate) fn rejected(&mut self, broker: u16, refusals: &mut Vec<Refusal>, now: Instant) -> Option<Duration> {
        let mut again = Vec::new();
        let mut ended = false;
        for Refusal { key, reason, words, message } in refusals.drain(..) {
            let tag = Tag::from_key(key);
            let retried = is_for_now(reason) && tag.is_spooled();
            self.tell_refusal(broker, &message, reason, words.as_deref(), retried, now);
            if retried {
                again.push(self.entry(tag, message));
            } else {
                self.brokers[usize::from(broker)].sent += 1;
                self.drop_entry(tag, "refused_by_target");
                ended = true;
            }
        }
        if ended {
            self.spool.flush();
        }
        if again.is_empty() {
            return None;
        }
        let slot = &mut self.brokers[usize::from(broker)];
        // In front of what was not sent yet, in the old order.
        for entry in again.into_iter().rev() {
            slot.lane.push_front(entry);
        }
        let rest = REST_MIN.saturating_mul(1 << slot.troubles.rests.min(16)).min(REST_MAX);
        slot.troubles.rests += 1;
        slot.troubles.rests_until = Some(now + rest);
        Some(rest)
    }

    fn tell_refusal(
        &mut self,
        broker: u16,
        message: &Message,
        reason: ReasonCode,
        words: Option<&str>,
        retried: bool,
        now: Instant,
    ) {
        let slot = &mut self.brokers[usize::from(broker)];
        let words = words.map(tidegate_link::shown);
        if retried {
            let quoted = words.as_ref().map_or_else(String::new, |words| format!(" (\"{words}\")"));
            slot.troubles.refusal = Some(format!("refuses messages for now: {reason}{quoted}"));
        }
        let Some(kept_back) = slot.troubles.refused_lines.admit(now) else { return };
        tracing::warn!(
            broker = &*slot.name,
            topic = %message.topic.as_str().escape_debug(),
            qos = message.qos as u8,
            bytes = message.payload.len(),
            %reason,
            words,
            lines_kept_back = kept_back,
            "{}",
            if retried { "refused for now: tried again after a pause" } else { "refused: dropped and counted" }
        );
    }

    /// A message that a broker hangs up on: it is kept for the operator, and what is behind it goes on.
    pub(crate) fn gave_up(&mut self, broker: u16, key: u64, message: Message, why: &GaveUp, now: Instant) {
        let tag = Tag::from_key(key);
        let target = self.brokers[usize::from(broker)].name.clone();
        let route = if tag.is_spooled() { self.spooled_route(tag) } else { Some(tag.route) };
        let Some(route) = route else { return };
        let route_name = self.routes[usize::from(route)].name.clone();
        let (topic, bytes, qos) = (message.topic.clone(), message.payload.len(), message.qos as u8);
        let Entry { message, received_us, .. } = self.entry(tag, message);
        let parked = Parked {
            route: route_name.to_string(),
            plugin: target.to_string(),
            kind: PARKED_FOR_TARGET.to_owned(),
            reason: why.to_string(),
            received_ms: received_us / 1000,
            message,
        };
        let number = self.park_entry(route, tag, parked, received_us);
        tracing::warn!(
            broker = &*target,
            route = &*route_name,
            topic = %topic.as_str().escape_debug(),
            bytes,
            qos,
            connections = why.connections,
            number,
            error = why.words,
            "the broker hangs up on this message: {}",
            match number {
                Some(_) => "it is put aside, see `tidegate parked`; what is behind it goes on",
                None => "dropped, for there is no room to put it aside; what is behind it goes on",
            }
        );
        self.flush(now);
    }

    /// Puts a message that was on its way to a target aside. Returns its number; `None` without room for it.
    fn park_entry(&mut self, route: u16, tag: Tag, parked: Parked, received_us: u64) -> Option<u64> {
        let Some(number) = self.reserve_parked(&parked) else {
            self.drop_entry(tag, "parking_full");
            return None;
        };
        let counters = &mut self.routes[usize::from(route)].counters;
        counters.parked += 1;
        counters.in_flight -= 1;
        if tag.is_spooled() {
            // First there, then gone from its queue: a crash between the two leaves it in both.
            self.spool.append(Transaction { parked: vec![(number, parked)], ..Transaction::default() });
            self.spool_done(tag);
            self.spool.flush();
            return Some(number);
        }
        let origin = match tag.origin {
            NO_ORIGIN => self.no_source(Token::Nobody, received_us),
            origin => origin,
        };
        if let Some(filed) = self.origins.get_mut(origin) {
            filed.stash.parked.push((number, parked));
        }
        if tag.origin == NO_ORIGIN {
            self.settle_decided(origin);
        } else {
            if self.origins.is_decided(origin) {
                self.commit(origin);
            }
            self.settle_delivered(origin);
        }
        Some(number)
    }

    /// A parked message goes to a target, past its route's plugins and remap.
    pub(crate) fn replay_to(&mut self, number: u64, to: &str, now: Instant) -> Result<(), ReplayError> {
        let target = *self.targets.get(to).ok_or_else(|| ReplayError::NoTarget(to.to_owned()))?;
        self.replay_parked(number, Some(target), now)
    }

    /// Where a message was parked on its way to, if that was what failed.
    pub(crate) fn parked_for(&self, number: u64) -> Result<Option<Target>, ReplayError> {
        let parked = self.spool.parked().get(&number).ok_or(ReplayError::Unknown)?;
        if parked.kind != PARKED_FOR_TARGET {
            return Ok(None);
        }
        let target = self.targets.get(parked.plugin.as_str()).copied();
        target.map(Some).ok_or_else(|| ReplayError::NoTarget(parked.plugin.clone()))
    }
}

/// What keeps a broker from being ready, or is worth knowing, in words.
pub(crate) fn problems(
    subscriptions: &[SubscriptionProblem],
    overdue: Option<&Overdue>,
    troubles: &Troubles,
    now: Instant,
) -> Vec<String> {
    let mut words: Vec<String> = subscriptions
        .iter()
        .map(|problem| {
            let state = if problem.refused { "refused" } else { "not there yet" };
            format!("subscription `{}` {state}: {}", problem.filter.as_str().escape_debug(), problem.words)
        })
        .collect();
    if let Some(Overdue { count, first }) = overdue {
        let first = first.as_ref().map_or_else(
            || "the first is taken over by the broker, and not finished".to_owned(),
            |(topic, qos)| format!("the first is to `{}` at QoS {}", topic.as_str().escape_debug(), *qos as u8),
        );
        words.push(format!("{count} messages unanswered for a minute or longer: {first}"));
    }
    if troubles.rests(now) {
        words.extend(troubles.refusal.clone());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_what_was_kept_back_is_said_with_the_next() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let admitted = (0..100).filter(|_| lines.admit(start).is_some()).count();
        assert_eq!(admitted, LINES as usize);
        assert_eq!(lines.admit(start + LINES_EVERY), Some(90));
    }
}
