//! What links tell of their brokers, and what becomes of it: messages that a broker refuses or hangs up on, packets that
//! cannot be taken, habits, and what must be remembered of a broker over a restart.

use crate::data_path::DataPath;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_link::{GaveUp, Overdue, SubscriptionProblem};
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{Connected, ReasonCode, Refusal, Skipped, Version};
use tidegate_pacing::LogLimit;
use tidegate_router::{BrokerId, Refused, Ticket};

/// Fewer unacknowledged messages than this at a time are worth a line: it is mosquitto's window, unless set.
const SMALL_WINDOW: u16 = 20;

/// What is known of the broker at the end of a link, beside its messages.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// Messages from it that cannot be taken, by reason.
    pub(crate) skipped: BTreeMap<&'static str, u64>,
    skipped_lines: LogLimit,
    refused_lines: LogLimit,
    /// Why it is left alone for a while, in words.
    pub(crate) refusal: Option<String>,
    /// What was said of it at connecting.
    pub(crate) notes: Vec<String>,
}

/// What a reason to wait may be: the broker will take the message later (MQTT 5.0 section 3.4.2.1).
const fn is_for_now(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::QUOTA_EXCEEDED | ReasonCode::SERVER_BUSY)
}

impl DataPath {
    /// Messages from a broker that cannot be taken. They are acknowledged.
    pub(crate) fn skipped(&mut self, broker: BrokerId, skipped: &[Skipped], now: Instant) {
        self.router.broker_mut(broker).received += skipped.len() as u64;
        let name = self.router.broker(broker).name.clone();
        let slot = self.end_mut(broker);
        for one in skipped {
            *slot.troubles.skipped.entry(one.reason()).or_default() += 1;
            let Some(kept_back) = slot.troubles.skipped_lines.allow(now) else { continue };
            let hint = match one.reason() {
                "too_large" => "passed over and acknowledged; `max_packet_size` says how large a packet may be",
                _ => "passed over and acknowledged",
            };
            let topic = one.topic.as_deref().map(tidegate_link::shown);
            tracing::warn!(
                broker = &*name,
                topic = topic.as_deref().unwrap_or("(unreadable)"),
                qos = one.qos as u8,
                packet_id = one.packet_id,
                bytes = one.size_bytes,
                error = %one.error,
                lines_kept_back = (kept_back > 0).then_some(kept_back),
                "{hint}"
            );
        }
    }

    /// Messages that a broker has refused. Returns for how long it is left alone, if it is.
    pub(crate) fn rejected(&mut self, broker: BrokerId, refusals: &mut Vec<Refusal>, now: Instant) -> Option<Duration> {
        for Refusal { key, reason, words, message } in refusals.iter() {
            let retried = is_for_now(*reason) && Ticket::from_key(*key).is_spooled();
            self.tell_refusal(broker, message, *reason, words.as_deref(), retried, now);
        }
        let refused = refusals.drain(..).map(|Refusal { key, reason, message, .. }| Refused {
            ticket: Ticket::from_key(key),
            message,
            for_now: is_for_now(reason),
        });
        let moment = self.moment(now);
        self.router.refused(broker, refused, moment)
    }

    /// A message was refused: for now, if it is to be tried again.
    pub(crate) fn tell_refusal(
        &mut self,
        broker: BrokerId,
        message: &Message,
        reason: ReasonCode,
        words: Option<&str>,
        retried: bool,
        now: Instant,
    ) {
        let name = self.router.broker(broker).name.clone();
        let slot = self.end_mut(broker);
        let words = words.map(tidegate_link::shown);
        if retried {
            let quoted = words.as_ref().map_or_else(String::new, |words| format!(" (\"{words}\")"));
            slot.troubles.refusal = Some(format!("refuses messages for now: {reason}{quoted}"));
        }
        let Some(kept_back) = slot.troubles.refused_lines.allow(now) else { return };
        tracing::warn!(
            name: "target_refused",
            broker = &*name,
            topic = %message.topic.as_str().escape_debug(),
            qos = message.qos as u8,
            bytes = message.payload.len(),
            %reason,
            words,
            lines_kept_back = (kept_back > 0).then_some(kept_back),
            "{}",
            if retried { "refused for now: tried again after a pause" } else { "refused: dropped and counted" }
        );
    }

    /// A message that a broker hangs up on: it is kept for the operator, and what is behind it goes on.
    pub(crate) fn gave_up(&mut self, broker: BrokerId, ticket: Ticket, message: Message, why: &GaveUp, now: Instant) {
        let target = self.router.broker(broker).name.clone();
        let (topic, bytes, qos) = (message.topic.clone(), message.payload.len(), message.qos as u8);
        let (moment, reason) = (self.moment(now), why.to_string());
        self.router.withdrawn(broker, ticket);
        let Some((route, number)) = self.router.park_ticket(&target, ticket, message, reason, moment) else { return };
        tracing::warn!(
            name: "hung_up_on",
            broker = &*target,
            route = &*self.router.route(route).name,
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

    /// A broker accepted us: says what it does not do, unless that was said before.
    pub(crate) fn note_capabilities(
        &mut self,
        broker: BrokerId,
        connected: &Connected,
        version: Version,
        bridge: bool,
        expiry_asked_s: u32,
    ) {
        let target = self.router.is_target(broker);
        let source = self.router.is_source(broker);
        let plain = version != Version::V5 && !bridge;
        let mut notes = Vec::new();
        if plain && source {
            let echo = if target { "it echoes what we publish to it, which is known again, and " } else { "" };
            notes.push(format!(
                "it takes neither MQTT 5 nor the bridge bit: {echo}live messages from it have lost their retain flag"
            ));
        }
        if let Some(kept) = connected.session_expiry_s.filter(|kept| *kept < expiry_asked_s) {
            let shown = |seconds: u32| humantime::format_duration(Duration::from_secs(seconds.into()));
            notes.push(format!(
                "it keeps our session for {}, not {}: what is sent to us while we are away for longer is lost",
                shown(kept),
                shown(expiry_asked_s)
            ));
        }
        if target {
            if connected.max_qos < QoS::ExactlyOnce {
                notes.push(format!("it takes QoS {} at most: what is above is lowered", connected.max_qos as u8));
            }
            if !connected.retain_available {
                notes.push("it keeps no retained messages: the flag is taken off what goes to it".to_owned());
            }
            if let Some(bytes) = connected.max_packet_size {
                notes.push(format!("it takes packets of {bytes} bytes at most: larger ones are dropped and counted"));
            }
            if version == Version::V5 && connected.receive_maximum < SMALL_WINDOW {
                let count = connected.receive_maximum;
                notes.push(format!("it takes {count} unacknowledged messages at a time: that bounds the rate"));
            }
        }
        let name = self.router.broker(broker).name.clone();
        let slot = self.end_mut(broker);
        for note in notes.iter().filter(|note| !slot.troubles.notes.contains(note)) {
            tracing::warn!(broker = &*name, "{note}");
        }
        slot.troubles.notes = notes;
        let moment = self.moment(Instant::now());
        self.router.connected(broker, plain, version == Version::V5, moment);
    }
}

/// What keeps a broker from being ready, or is worth knowing, in words.
pub(crate) fn problems(
    subscriptions: &[SubscriptionProblem],
    overdue: Option<&Overdue>,
    troubles: &Troubles,
    rests: bool,
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
    if rests {
        words.extend(troubles.refusal.clone());
    }
    words
}
