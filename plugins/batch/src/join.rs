//! Many messages to one.

use crate::config::Join;
use crate::format::{Format, Problem, gzip};
use crate::held::{Batch, Element, Group, Held};
use tidegate_sdk::{Decision, Destination, Failure, Message, Output, Properties, ledger::Ledger, log};

/// One call of the timer sends no more than this, before compression: the default limit `output_size` of a plugin is 1 MiB.
const MAX_TICK_BYTES: usize = 768 << 10;

/// The same where it is compressed, which takes time: the default limit `deadline` is 50 ms.
const MAX_TICK_GZIP_BYTES: usize = 448 << 10;

/// Why a message goes nowhere by itself.
const BATCHED: &str = "batched";

pub(crate) struct Joiner {
    rules: Join,
    held: Held,
    /// Messages that went alone, for want of room.
    alone: u64,
}

impl Joiner {
    pub(crate) fn new(rules: Join) -> Self {
        let held = Held::restored(Ledger::new(rules.max_state));
        Self { rules, held, alone: 0 }
    }

    pub(crate) fn handle(&mut self, message: Message) -> Result<Decision, Failure> {
        self.held.delete_orphans();
        let by = self.rules.by.clone();
        let Some(key) = by.key(&message) else { return self.missing(Problem::NoKey, &message) };
        if message.redelivered
            && let Some(known) = self.held.known(&key, message.id)
        {
            let outputs: Vec<Output> = known.map_or_else(Vec::new, |sent| {
                let again = |batch: &Batch| {
                    let elements = batch.elements.iter().map(bytes_of);
                    output(&self.rules, batch.format, &key, [&batch.topic, &message.topic], elements)
                };
                sent.batches.iter().map(again).collect()
            });
            return Ok(decided(outputs));
        }
        let element = match self.rules.format.element(&message) {
            Ok(element) if Format::joined_bytes(1, element.len()) > self.rules.max_bytes => {
                return self.missing(Problem::TooLarge, &message);
            }
            Ok(element) => element,
            Err(problem) => return self.missing(problem, &message),
        };
        if self.rules.topic.topic(&message.topic, &[&key]).is_none() {
            return Err(Failure::reject("`topic` makes no topic of the topic or key of this message"));
        }
        Ok(decided(self.join(&key, &message, element)))
    }

    /// Takes in a message; what it completes goes out.
    fn join(&mut self, key: &str, message: &Message, element: Vec<u8>) -> Vec<Output> {
        let is_new = !self.held.groups.contains_key(key);
        if is_new && self.held.groups.len() >= self.rules.max_keys {
            self.held.forget_sent(None);
            if self.held.groups.len() >= self.rules.max_keys {
                return self.alone(key, message, &element, "keys are all that fit (`max_keys`)");
            }
        }
        let mut outputs = Vec::new();
        let does_not_fit = |group: &Group| {
            let bytes = Format::joined_bytes(group.waiting.len() + 1, group.bytes + element.len());
            bytes > self.rules.max_bytes || group.format != self.rules.format
        };
        if self.held.groups.get(key).is_some_and(does_not_fit) {
            outputs.extend(self.close(key, message, true));
        }
        match self.held.keep(key, message, self.rules.format, element) {
            Ok(()) => {
                let is_full = |group: &Group| group.waiting.len() >= self.rules.max_messages;
                if self.held.groups.get(key).is_some_and(is_full) {
                    outputs.extend(self.close(key, message, true));
                }
            }
            Err(element) => {
                // What waits goes first, and makes room.
                outputs.extend(self.close(key, message, false));
                outputs.extend(self.alone(key, message, &element, "keys have filled the state (`max_state`)"));
            }
        }
        outputs
    }

    /// All that waits for this key as an output of this message; kept for the case that it is delivered again, if there is room.
    fn close(&mut self, key: &str, message: &Message, is_kept: bool) -> Option<Output> {
        let rules = &self.rules;
        let make = |group: &Group| {
            let elements = group.waiting.iter().map(bytes_of);
            output(rules, group.format, key, [&group.topic, &message.topic], elements)
        };
        self.held.close(key, is_kept.then_some(message), make)
    }

    /// A batch of one. A line in the log for each power of ten.
    fn alone(&mut self, key: &str, message: &Message, element: &[u8], why: &str) -> Vec<Output> {
        self.alone += 1;
        if self.alone.ilog10() != (self.alone - 1).checked_ilog10().unwrap_or(u32::MAX) {
            log::warn!("{} messages went as batches of one: {} {why}", self.alone, self.held.groups.len());
        }
        vec![output(&self.rules, self.rules.format, key, [&message.topic; 2], [element].into_iter())]
    }

    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        self.held.delete_orphans();
        self.held.forget_sent(Some(now_ms));
        let max_age_ms = self.rules.max_age_ms;
        let mut due = Vec::new();
        for (key, group) in &mut self.held.groups {
            // A clock set back begins the age anew.
            group.since_ms = group.since_ms.min(now_ms);
            if !group.waiting.is_empty() && now_ms - group.since_ms >= max_age_ms {
                due.push((group.since_ms, key.clone()));
            }
        }
        due.sort_unstable(); // The longest waiting first, should there be more than one call may send.
        let mut left = if self.rules.gzip { MAX_TICK_GZIP_BYTES } else { MAX_TICK_BYTES };
        let mut outputs = Vec::new();
        for (_, key) in due {
            let Some(group) = self.held.groups.get(&key) else { continue };
            let Some(topic) = self.rules.topic.topic(&group.topic, &[&key]) else {
                log::error!("a batch waits: `topic` makes no topic of {}", group.topic);
                continue;
            };
            let bytes = Format::joined_bytes(group.waiting.len(), group.bytes) + topic.len();
            if bytes > left || outputs.len() >= self.rules.max_outputs {
                // One of the largest topic and size fits a call of its own.
                if !outputs.is_empty() {
                    break;
                }
            }
            left = left.saturating_sub(bytes);
            let rules = &self.rules;
            let make = |group: &Group| {
                output(rules, group.format, &key, [&group.topic; 2], group.waiting.iter().map(bytes_of))
            };
            outputs.extend(self.held.close(&key, None, make));
        }
        outputs
    }

    fn missing(&self, problem: Problem, message: &Message) -> Result<Decision, Failure> {
        let told = || problem.told(&message.payload, self.rules.max_bytes, 0);
        self.rules.on_missing.decide(problem.reason(), told)
    }
}

fn decided(outputs: Vec<Output>) -> Decision {
    if outputs.is_empty() { Decision::drop(BATCHED) } else { Decision::forward(outputs) }
}

fn bytes_of(element: &Element) -> &[u8] {
    &element.bytes
}

/// A batch as a message; its topic by that of its first message, or where a new template makes none of it, of its last.
fn output<'e>(
    rules: &Join,
    format: Format,
    key: &str,
    topics: [&String; 2],
    elements: impl ExactSizeIterator<Item = &'e [u8]> + Clone,
) -> Output {
    let bytes = elements.clone().map(<[u8]>::len).sum();
    let mut payload = format.joined(elements, bytes);
    let content_type = if format == rules.format { &*rules.content_type } else { format.content_type() };
    let mut properties = Properties { content_type: Some(content_type.to_owned()), ..Properties::none() };
    if rules.gzip {
        payload = gzip(&payload);
        properties.user.push(("content-encoding".to_owned(), "gzip".to_owned()));
    }
    let mut output = match &rules.to {
        Destination::Onward => Output::onward(),
        Destination::Target(target) => Output::target(target),
    };
    output.topic = topics.iter().find_map(|topic| rules.topic.topic(topic, &[key]));
    output.payload(payload).qos(rules.qos).retain(rules.retain).properties(properties)
}
