//! `window` computes mean, minimum, maximum and others of the readings of each key in windows of time, and sends them when the
//! window ends.
//!
//! Windows end at multiples of `every` since the Unix epoch, so that those of all gateways end together; with `over` they overlap. A
//! window is said by the timer, or by the first message of its key after its end, whichever comes first. A reading belongs to the time
//! at which the gateway received it.
//!
//! Invariants: half a window is durable: what a message adds takes effect together with its acknowledgement, so that a
//! restart or a swap neither loses a reading nor counts it twice. A message that closed a window and is delivered again says it
//! again. Sums are exact. What is remembered is bounded; a message for which there is no room passes.
//!
//! Start reading at [`Windows::handle`]; `panes.rs` has the windows of one key, `stats.rs` what is computed, `keys.rs` what is
//! remembered.

mod config;
mod keys;
mod panes;
mod stats;

use config::Checked;
use keys::Keys;
use panes::{Lengths, Window};
use stats::Aggregate;
use tidegate_sdk::{
    Decision, Destination, Failure, Message, Output, Plugin, Problems, Properties, Qos, Timed,
    decimal::Decimal,
    json::{self, Field, Path, write_string},
    ledger::Ledger,
    log,
    missing::NoReading,
    template::Template,
};

pub use config::Config;

/// One call of the timer, and one message, says no more than this: the default limit `output_size` of a plugin is 1 MiB.
const MAX_SAID_BYTES: usize = 768 << 10;
const LONG_KEY: &str = "a key or topic too long";

/// What a window takes beside texts and fields, and what each of its numbers takes.
const WINDOW_BYTES: usize = 512;
const NUMBER_BYTES: usize = 64;

/// The plugin.
pub struct Windows {
    config: Config,
    lengths: Lengths,
    fields: Vec<Path>,
    /// The fields' names as they stand in JSON.
    names: Vec<Vec<u8>>,
    keys: Keys,
    to: Destination,
    topic: Template,
    qos: Qos,
    /// The latest time that a message or the timer has told.
    now_ms: u64,
    /// Messages that passed for want of room.
    passed: u64,
    has_begun: bool,
    /// Whether `compute` asks for it.
    with_deviation: bool,
    told_unwritten: bool,
    // Kept from message to message for their memory alone.
    found: Vec<Option<Field>>,
    readings: Vec<Option<Decimal>>,
}

impl Plugin for Windows {
    type Config = Config;

    fn configure(mut config: Config) -> Result<Self, Problems> {
        let Checked { lengths, fields, to, topic, qos, max_keys } = config.check()?;
        let names: Vec<String> = fields.iter().map(Path::to_string).collect();
        let with_deviation = config.compute.contains(&Aggregate::Stddev);
        let deviation = if with_deviation { "stddev " } else { "" };
        let made_for = format!("{} {} {deviation}{}", lengths.every_ms, lengths.over_ms, names.join(" "));
        let keys = Keys::restored(max_keys, Ledger::new(config.max_state), made_for);
        let written = |name: &String| {
            let mut text = Vec::new();
            write_string(name, &mut text);
            text
        };
        Ok(Self {
            lengths,
            names: names.iter().map(written).collect(),
            keys,
            to,
            topic,
            qos,
            now_ms: 0,
            passed: 0,
            has_begun: false,
            with_deviation,
            told_unwritten: false,
            found: vec![None; fields.len()],
            readings: vec![None; fields.len().max(1)],
            fields,
            config,
        })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        self.begin();
        let on_missing = self.config.on_missing;
        let Some(key) = self.config.by.key(&message) else {
            return NoReading::NoKey.decide(on_missing, &message.payload);
        };
        if let Err(problem) = self.read(&message.payload) {
            return problem.decide(on_missing, &message.payload);
        }
        let is_over = message.redelivered && self.end_ms(message.received_ms) <= self.now_ms;
        if !message.redelivered {
            self.now_ms = message.received_ms;
        }
        if !self.keys.entries.contains_key(&*key) {
            if is_over {
                return Ok(self.late());
            }
            if self.window_bytes(&key, &message.topic) * self.most_at_once() > MAX_SAID_BYTES {
                return NoReading::LongKey(LONG_KEY).decide(on_missing, &message.payload);
            }
            if self.topic.topic(&message.topic, &[&key]).is_none() {
                return Err(Failure::reject("`topic` makes no topic of the topic or key of this message"));
            }
            if self.keys.is_full() {
                return Ok(self.no_room());
            }
        }
        let (id, boundary_ms) = (message.id, self.lengths.boundary_ms(message.received_ms));
        let entry = self.keys.open(&key, &message.topic, boundary_ms);
        let open_ms = entry.panes.open_ms();
        let windows = if message.redelivered && entry.panes.counts(id) {
            entry.panes.again(id, self.lengths)
        } else if boundary_ms < open_ms && message.redelivered {
            return Ok(self.late());
        } else {
            let closed = if boundary_ms < open_ms {
                entry.panes.break_off(boundary_ms, self.lengths)
            } else if entry.panes.is_due(boundary_ms) {
                entry.panes.close(boundary_ms, Some((id, message.received_ms)), self.lengths)
            } else {
                Vec::new()
            };
            entry.panes.add(boundary_ms, id, &self.readings, self.with_deviation);
            self.keys.write(&key, boundary_ms != open_ms);
            closed
        };
        let topic = &self.keys.entries[&*key].topic;
        let mut outputs: Vec<Output> = windows.iter().filter_map(|window| self.output(&key, topic, window)).collect();
        self.tell_of_unwritten();
        if self.config.pass {
            outputs.push(Output::onward());
        }
        Ok(match outputs.len() {
            0 => Decision::drop("aggregated"),
            1 if windows.is_empty() => Decision::pass(),
            _ => Decision::forward(outputs),
        })
    }
}

impl Timed for Windows {
    fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        self.begin();
        self.now_ms = now_ms;
        let boundary_ms = self.lengths.boundary_ms(now_ms);
        let entries = self.keys.entries.iter().filter(|(_, entry)| entry.panes.is_due(boundary_ms));
        let mut due: Vec<(u64, &String)> = entries.map(|(key, entry)| (entry.panes.past.said_ms, key)).collect();
        due.sort_unstable(); // The longest waiting first, should there be more than one call may send.
        let due: Vec<String> = due.into_iter().map(|(_, key)| key.clone()).collect();
        let mut outputs = Vec::new();
        let mut bytes = 0;
        for key in due {
            let Some(entry) = self.keys.entries.get(&key) else { continue };
            let count = entry.panes.due(boundary_ms, self.lengths);
            bytes += count * self.window_bytes(&key, &entry.topic);
            if outputs.len() + count > self.config.max_outputs || bytes > MAX_SAID_BYTES {
                break;
            }
            let Some(entry) = self.keys.entries.get_mut(&key) else { continue };
            let windows = entry.panes.close(boundary_ms, None, self.lengths);
            let topic = std::mem::take(&mut entry.topic);
            outputs.extend(windows.iter().filter_map(|window| self.output(&key, &topic, window)));
            if let Some(entry) = self.keys.entries.get_mut(&key) {
                entry.topic = topic;
            }
            self.keys.write(&key, true);
        }
        self.tell_of_unwritten();
        outputs
    }
}

impl Windows {
    /// Fills `readings`; a problem if there is none at all.
    fn read(&mut self, payload: &[u8]) -> Result<(), NoReading> {
        if self.fields.is_empty() {
            self.readings[0] = Some(Decimal::of_payload(payload).ok_or(NoReading::NoNumber)?);
            return Ok(());
        }
        json::find_each(payload, &self.fields, &mut self.found).map_err(NoReading::NotJson)?;
        for (field, reading) in self.found.iter().zip(&mut self.readings) {
            let text = field.as_ref().and_then(|field| field.number_text(payload));
            *reading = text.and_then(Decimal::parse_cut).filter(|number| number.fits_f64());
        }
        match self.readings.iter().any(Option::is_some) {
            true => Ok(()),
            false if self.found.iter().any(Option::is_some) => Err(NoReading::NoNumber),
            false => Err(NoReading::NoField),
        }
    }

    fn late(&self) -> Decision {
        if self.config.pass { Decision::pass() } else { Decision::drop("late") }
    }

    /// A line for each power of ten.
    fn no_room(&mut self) -> Decision {
        self.passed += 1;
        if self.passed.ilog10() != (self.passed - 1).checked_ilog10().unwrap_or(u32::MAX) {
            let (count, keys) = (self.passed, self.keys.entries.len());
            log::warn!("{count} messages of new keys passed as they are: {keys} keys are all that fit (`max_keys`)");
        }
        Decision::pass()
    }

    fn end_ms(&self, at_ms: u64) -> u64 {
        self.lengths.boundary_ms(at_ms) + self.lengths.every_ms
    }

    /// So many windows one key may have at once.
    fn most_at_once(&self) -> usize {
        usize::try_from(self.lengths.over_ms / self.lengths.every_ms).unwrap_or(usize::MAX)
    }

    /// No less than an output takes: a key may be written in escapes.
    fn window_bytes(&self, key: &str, topic: &str) -> usize {
        let numbers = self.readings.len() * self.config.compute.len();
        let names: usize = self.names.iter().map(|name| name.len() + 8).sum();
        WINDOW_BYTES + topic.len() + 7 * key.len() + names + numbers * NUMBER_BYTES
    }

    /// A window as a message. None, and a line in the log, if a template that has changed makes no topic any more.
    fn output(&self, key: &str, topic: &str, window: &Window) -> Option<Output> {
        let Some(to_topic) = self.topic.topic(topic, &[key]) else {
            log::error!("a window is not said: `topic` makes no topic of {topic}");
            return None;
        };
        let mut output = match &self.to {
            Destination::Onward => Output::onward(),
            Destination::Target(target) => Output::target(target),
        };
        let properties = Properties { content_type: Some("application/json".to_owned()), ..Properties::none() };
        output.topic = Some(to_topic);
        let text = self.text(key, window);
        Some(output.payload(text).qos(self.qos).retain(self.config.retain).properties(properties))
    }

    fn text(&self, key: &str, window: &Window) -> Vec<u8> {
        let Window { start_ms, end_ms, stats } = window;
        let mut text = format!("{{\"start_ms\":{start_ms},\"end_ms\":{end_ms},\"key\":").into_bytes();
        write_string(key, &mut text);
        text.extend_from_slice(if self.fields.is_empty() { b",\"value\":" } else { b",\"fields\":{" });
        let mut is_first = true;
        for (at, stats) in stats.iter().enumerate() {
            let Some(stats) = stats else { continue };
            if let Some(name) = self.names.get(at) {
                text.extend_from_slice(if is_first { b"" } else { b"," });
                text.extend_from_slice(name);
                text.push(b':');
            }
            is_first = false;
            for (i, aggregate) in self.config.compute.iter().enumerate() {
                text.extend_from_slice(if i == 0 { b"{\"" } else { b",\"" });
                text.extend_from_slice(aggregate.name().as_bytes());
                text.extend_from_slice(b"\":");
                stats.write(*aggregate, self.config.round, &mut text);
            }
            text.push(b'}');
        }
        text.extend_from_slice(if self.fields.is_empty() { b"}" } else { b"}}" });
        text
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let forgotten = self.keys.begin();
            if forgotten > 0 {
                log::warn!("{forgotten} half windows are forgotten: they were of other lengths or fields");
            }
        }
    }

    fn tell_of_unwritten(&mut self) {
        if std::mem::take(&mut self.keys.unwritten) && !std::mem::replace(&mut self.told_unwritten, true) {
            let used = self.keys.ledger.used();
            log::warn!("the state is full at {used} bytes (`max_state`): a restart loses readings of other keys");
        }
    }
}

tidegate_sdk::plugin!(Windows, timer);

#[cfg(test)]
mod tests;
