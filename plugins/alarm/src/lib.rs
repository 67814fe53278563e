//! `alarm` says when a value goes beyond a threshold and when it comes back, with hysteresis and delays, once for each change.
//!
//! A reading is the number in a field of the payload, or the payload itself. Each rule holds, for each key, whether its alarm is
//! raised and since when readings say the contrary; time is the gateway's. A change makes an event: a message of its own, to a
//! target or onward, beside the reading.
//!
//! Invariants: what is remembered is durable and takes effect together with the event, so that a restart or a swap neither loses an
//! event nor says it again. A message that changed an alarm and is delivered again is decided from what was before it, so its
//! event is said again. A key for which all is well is not remembered at all, unless `stale_after` waits for it. What is
//! remembered is bounded; what no longer fits is told in the log.
//!
//! Start reading at [`Alarm::handle`]; `rule.rs` is the rule, `watch.rs` what is remembered.

mod config;
mod rule;
mod watch;

use config::Checked;
use rule::{Rule, Status, When};
use tidegate_sdk::{
    Decision, Destination, Failure, Message, Output, Plugin, Problems, Properties, Qos, Timed,
    decimal::Decimal,
    json::{self, write_string},
    ledger::Ledger,
    log,
    missing::NoReading,
    state,
    template::Template,
};
use watch::{Left, NotWatched, Room, Watch};

pub use config::Config;

/// One call of the timer says no more than this: the default limit `output_size` of a plugin is 1 MiB.
const MAX_TICK_BYTES: usize = 768 << 10;

/// An alarm that was cleared is remembered for so long, for the case that its message is delivered again.
const REMEMBERED_MS: u64 = 600_000;

/// The longest key that is no topic, so that any event fits into what one call may say.
const MAX_KEY_BYTES: usize = 16 << 10;
const LONG_KEY: &str = "a key above 16 KiB";

/// The plugin.
pub struct Alarm {
    config: Config,
    watches: Vec<Watch>,
    room: Room,
    to: Destination,
    topic: Template,
    qos: Qos,
    /// Keys of the state that no rule knows, to be deleted by the next call.
    orphans: Vec<String>,
    forgot_ms: u64,
    /// Messages that were not watched, for want of room.
    unwatched: u64,
    told_unwritten: bool,
}

impl Plugin for Alarm {
    type Config = Config;

    fn configure(mut config: Config) -> Result<Self, Problems> {
        let Checked { rules, to, topic, qos } = config.check()?;
        let mut watches: Vec<Watch> = rules.into_iter().map(|(name, rule)| Watch::new(name, rule)).collect();
        let mut room = Room::new(config.max_keys, Ledger::new(config.max_state));
        let mut orphans = Vec::new();
        for state_key in state::keys("") {
            let value = state::get(&state_key).unwrap_or_default();
            let parts = state_key.split_once(':');
            let found = parts.and_then(|(name, key)| Some((watches.iter_mut().find(|w| w.name == name)?, key)));
            if !found.is_some_and(|(watch, key)| watch.restore(key, &value, &mut room)) {
                orphans.push(state_key);
            }
        }
        let (forgot_ms, unwatched, told_unwritten) = (0, 0, false);
        Ok(Self { config, watches, room, to, topic, qos, orphans, forgot_ms, unwatched, told_unwritten })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        self.delete_orphans();
        let on_missing = self.config.on_missing;
        let key = match self.config.by.key(&message) {
            Some(key) if key.len() > MAX_KEY_BYTES && key != message.topic => {
                return NoReading::LongKey(LONG_KEY).decide(on_missing, &message.payload);
            }
            Some(key) => key,
            None => return NoReading::NoKey.decide(on_missing, &message.payload),
        };
        let value = match self.value(&message.payload) {
            Ok(value) => value,
            Err(problem) => return problem.decide(on_missing, &message.payload),
        };
        if self.room.is_full() {
            self.make_room(message.received_ms);
        }
        let mut outputs = Vec::new();
        for at in 0..self.watches.len() {
            let has_topic = |rule: &str| self.topic.topic(&message.topic, &[&key, rule]).is_some();
            match self.watches[at].read(&key, value, &message, &mut self.room, has_topic) {
                Ok(events) => {
                    for event in events {
                        outputs.extend(self.output(at, &key, &message.topic, &event, message.received_ms));
                    }
                }
                Err(NotWatched::Full) => self.tell_of_unwatched(),
                Err(NotWatched::NoTopic) => {
                    return Err(Failure::reject("`topic` makes no topic of the topic or key of this message"));
                }
            }
        }
        self.tell_of_unwritten();
        if self.config.pass {
            if outputs.is_empty() {
                return Ok(Decision::pass());
            }
            outputs.push(Output::onward());
        }
        Ok(if outputs.is_empty() { Decision::drop("no change") } else { Decision::forward(outputs) })
    }
}

impl Timed for Alarm {
    fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        self.delete_orphans();
        let mut outputs = Vec::new();
        let mut left = Left { events: self.config.max_outputs, bytes: MAX_TICK_BYTES };
        for at in 0..self.watches.len() {
            for (key, topic, event) in self.watches[at].tick(now_ms, &mut left, &mut self.room) {
                outputs.extend(self.output(at, &key, &topic, &event, now_ms));
            }
        }
        if now_ms.abs_diff(self.forgot_ms) >= REMEMBERED_MS / 10 {
            self.forget(now_ms, false);
        }
        self.tell_of_unwritten();
        outputs
    }
}

impl Alarm {
    fn value(&self, payload: &[u8]) -> Result<Decimal, NoReading> {
        let Some(path) = &self.config.field else {
            return Decimal::of_payload(payload).ok_or(NoReading::NoNumber);
        };
        let field = json::find(payload, path).map_err(NoReading::NotJson)?.ok_or(NoReading::NoField)?;
        let number = field.number_text(payload).and_then(Decimal::parse_cut).filter(|number| number.fits_f64());
        number.ok_or(NoReading::NoNumber)
    }

    /// An event as a message. None, and a line in the log, if a template that has changed makes no topic any more.
    fn output(&self, watch: usize, key: &str, topic: &str, event: &Status, at_ms: u64) -> Option<Output> {
        let Watch { name, rule, .. } = &self.watches[watch];
        let Some(to_topic) = self.topic.topic(topic, &[key, name]) else {
            log::error!("an event of `{name}` is not said: `topic` makes no topic of {topic}");
            return None;
        };
        let mut output = match &self.to {
            Destination::Onward => Output::onward(),
            Destination::Target(target) => Output::target(target),
        };
        let properties = Properties { content_type: Some("application/json".to_owned()), ..Properties::none() };
        output.topic = Some(to_topic);
        Some(
            output
                .payload(event_text(name, rule, key, topic, event, at_ms))
                .qos(self.qos)
                .retain(self.config.retain)
                .properties(properties),
        )
    }

    fn make_room(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.forgot_ms) >= 1_000 {
            self.forget(now_ms, true);
        }
    }

    fn forget(&mut self, now_ms: u64, needs_room: bool) {
        self.forgot_ms = now_ms;
        let until_ms = if needs_room { now_ms } else { now_ms.saturating_sub(REMEMBERED_MS) };
        for watch in &mut self.watches {
            watch.forget(until_ms, needs_room, &mut self.room);
        }
    }

    /// Of rules that are no more; not in `configure`, which may be no more than a question.
    fn delete_orphans(&mut self) {
        for key in self.orphans.drain(..) {
            state::delete(&key);
        }
    }

    /// A line for each power of ten.
    fn tell_of_unwatched(&mut self) {
        self.unwatched += 1;
        if self.unwatched.ilog10() != (self.unwatched - 1).checked_ilog10().unwrap_or(u32::MAX) {
            let (count, entries) = (self.unwatched, self.room.entries);
            log::warn!("{count} readings of new keys were not watched: {entries} alarms are all that fit (`max_keys`)");
        }
    }

    fn tell_of_unwritten(&mut self) {
        if std::mem::take(&mut self.room.unwritten) && !std::mem::replace(&mut self.told_unwritten, true) {
            let used = self.room.ledger.used();
            log::warn!(
                "the state is full at {used} bytes (`max_state`): further alarms are said again after a restart"
            );
        }
    }
}

/// What is said of a change.
fn event_text(name: &str, rule: &Rule, key: &str, topic: &str, event: &Status, at_ms: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(192 + key.len() + topic.len());
    for (member, value) in [("{\"topic\":", topic), (",\"key\":", key), (",\"rule\":", name)] {
        text.extend_from_slice(member.as_bytes());
        write_string(value, &mut text);
    }
    let mut write = |rest: String| text.extend_from_slice(rest.as_bytes());
    write(format!(",\"state\":\"{}\"", if event.raised { "raised" } else { "cleared" }));
    if let Some(value) = event.value {
        write(format!(",\"value\":{value}"));
    }
    match rule.when {
        When::Above { threshold, clear } | When::Below { threshold, clear } => {
            write(format!(",\"threshold\":{threshold},\"clear\":{clear}"));
        }
        When::Silent => write(format!(",\"after_ms\":{}", rule.after_ms)),
    }
    write(format!(",\"since_ms\":{},\"at_ms\":{at_ms}}}", event.since_ms));
    text
}

tidegate_sdk::plugin!(Alarm, timer);

#[cfg(test)]
mod tests;
