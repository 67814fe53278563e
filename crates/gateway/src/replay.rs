//! A recording decided again by another configuration, without any broker: what would be decided otherwise.
//!
//! Times and numbers of messages, what plugins remembered at the beginning, and when their timers were called come from the recording,
//! so that two replays decide alike. Messages of a route are decided in batches, as plugins are asked on live traffic.

use crate::Error;
use crate::plugins::Rerun;
use crate::plugins::build::Preparer;
use bytes::BytesMut;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tidegate_config::{self as config, Config, Route};
use tidegate_decisions::{Begin, Content, Decision, Differences, End, Entry, Payloads, Sample, Sent, Tick};
use tidegate_message::Message;
use tidegate_plugin::{Input, StateStore};
use tidegate_router::{DropReason, Shape, To, Verdict};

/// So many messages of a route are decided at once.
const BATCH: usize = 128;

/// Entries of one plugin's route may stand so far from their place: those of timers and of messages come by two ways.
const AHEAD: usize = 1_024;

/// Decides recordings.
pub struct Replay {
    parts: HashMap<Box<str>, Part>,
    preparer: Preparer,
    config: Config,
    begun: bool,
    /// What was found.
    pub found: Replayed,
}

/// What a replay has found.
#[derive(Debug, Default)]
pub struct Replayed {
    /// How decisions differ.
    pub differences: Differences,
    /// So many messages were decided again.
    pub messages: u64,
    /// And so many timers called.
    pub ticks: u64,
    /// So often some messages are missing in the recording.
    pub gaps: u64,
    /// Messages whose payload was not recorded whole.
    pub without_payload: u64,
    /// So many recordings are in the file.
    pub recordings: u64,
    /// Entries with what is decided now, if they are wanted.
    updated: Option<Vec<Entry>>,
}

struct Part {
    route: Route,
    shape: Shape,
    rerun: Rerun,
    /// In the order in which they are to be decided: by the number of the message, and timers behind theirs.
    ahead: BTreeMap<(u64, u64), Entry>,
    arrived: u64,
    /// The highest number so far: what has none of its own stands behind it.
    last: u64,
}

impl Replay {
    /// By this configuration; fields of payloads that may differ are `ignored`. Slow: it may compile. Nothing is written to the data
    /// directory; `cache` is where the caller keeps compiled code.
    ///
    /// # Errors
    /// What keeps the plugins from being built, as at a start.
    pub fn new(config: &Config, differences: Differences, cache: Option<&Path>) -> Result<Self, Error> {
        let mut preparer = Preparer::aside(config, cache)?;
        preparer.replays = true;
        // One worker shows what all of them would do.
        let alone = |route: &Route| Route { workers: config::Workers::default(), ..route.clone() };
        let mut config = Config { routes: config.routes.iter().map(alone).collect(), ..config.clone() };
        // Of a shadow nothing becomes.
        for plugin in config.plugins.values_mut() {
            plugin.candidate = plugin.candidate.take().filter(|candidate| candidate.trial != config::Trial::Shadow);
        }
        let found = Replayed { differences, ..Replayed::default() };
        let mut replay = Self { parts: HashMap::new(), preparer, config, begun: false, found };
        replay.begin(HashMap::new())?;
        Ok(replay)
    }

    /// Every plugin begins with this memory.
    fn begin(&mut self, states: HashMap<String, StateStore>) -> Result<(), Error> {
        self.preparer.begin_with(states);
        let prepared = self.preparer.prepare(&self.config, &HashMap::new(), &[]).map_err(Error::Config)?;
        let part = |(route, prepared): (&Route, crate::plugins::build::Prepared)| {
            let stages = prepared.swaps.into_iter().flat_map(|swap| swap.stages).collect();
            let part = Part {
                shape: Shape::of(route),
                rerun: Rerun::new(route.from.name(), stages),
                route: route.clone(),
                ahead: BTreeMap::new(),
                arrived: 0,
                last: 0,
            };
            (route.name.as_str().into(), part)
        };
        self.parts = self.config.routes.iter().zip(prepared).map(part).collect();
        Ok(())
    }

    /// The next entry of a recording. Returns, if they are wanted, entries with what is decided now, in the order of their route.
    ///
    /// # Errors
    /// Plugins cannot begin with what they remembered.
    pub fn entry(&mut self, entry: Entry, wanted: bool) -> Result<Vec<Entry>, Error> {
        self.found.updated = wanted.then(Vec::new);
        self.take(entry)?;
        Ok(self.found.updated.take().unwrap_or_default())
    }

    fn take(&mut self, entry: Entry) -> Result<(), Error> {
        let route = match &entry {
            Entry::Begin(begin) => {
                self.recording(begin)?;
                self.found.stays(entry);
                return Ok(());
            }
            Entry::Gap => {
                self.found.gaps += 1;
                self.found.stays(entry);
                return Ok(());
            }
            Entry::Message(message) => &message.route,
            Entry::Tick(tick) => &tick.route,
        };
        let Some(part) = self.parts.get_mut(route) else {
            if let Entry::Message(message) = entry {
                self.found.messages += 1;
                let none = Decision { sent: Vec::new(), end: End::NotTaken };
                self.found.compare(&message, none);
            }
            return Ok(());
        };
        part.arrived += 1;
        let key = match &entry {
            Entry::Message(message) if message.id > 0 => message.id,
            Entry::Tick(tick) => tick.after,
            _ => part.last,
        };
        part.last = part.last.max(key);
        part.ahead.insert((key, part.arrived), entry);
        if part.ahead.len() >= AHEAD {
            part.decide(AHEAD / 2, &mut self.found);
        }
        Ok(())
    }

    /// The recording is over: what has not been decided is.
    /// Returns what is left of what [`entry`](Self::entry) does.
    pub fn end(&mut self) -> Vec<Entry> {
        self.found.updated = Some(Vec::new());
        self.end_recording();
        self.found.updated.take().unwrap_or_default()
    }

    fn end_recording(&mut self) {
        for part in self.parts.values_mut() {
            part.decide(0, &mut self.found);
        }
    }

    fn recording(&mut self, begin: &Begin) -> Result<(), Error> {
        self.end_recording();
        self.found.recordings += 1;
        let mut states = HashMap::new();
        for (name, plugin) in &begin.plugins {
            let keys = plugin.state.iter().map(|(key, value)| (key.to_string(), value.to_vec())).collect();
            states.insert(name.to_string(), StateStore::restored(keys));
        }
        if self.begun || states.values().any(|state| !state.is_empty()) {
            self.begin(states)?;
        }
        self.begun = true;
        Ok(())
    }
}

impl Part {
    /// Decides what waits, but for the last `left`.
    fn decide(&mut self, left: usize, found: &mut Replayed) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.ahead.len() > left {
            let Some((_, entry)) = self.ahead.pop_first() else { break };
            match entry {
                Entry::Message(message) => batch.push(message),
                Entry::Tick(tick) => {
                    self.batch(&mut batch, found);
                    self.tick(tick, found);
                }
                Entry::Begin(_) | Entry::Gap => {}
            }
            if batch.len() == BATCH {
                self.batch(&mut batch, found);
            }
        }
        self.batch(&mut batch, found);
    }

    fn batch(&mut self, batch: &mut Vec<tidegate_decisions::Message>, found: &mut Replayed) {
        let mut messages = Vec::with_capacity(batch.len());
        batch.retain(|recorded| {
            found.messages += 1;
            found.without_payload += u64::from(recorded.came.payload.whole().is_none());
            let message = recorded.came.message().ok();
            let from = &self.route.from;
            let takes = |message: &Message| {
                from.has(&recorded.broker) && from.topics.iter().any(|filter| filter.matches(&message.topic))
            };
            match message.filter(takes) {
                Some(message) => messages.push(message),
                None => {
                    found.compare(recorded, Decision { sent: Vec::new(), end: End::NotTaken });
                    return false;
                }
            }
            true
        });
        let input = |(recorded, message): (&tidegate_decisions::Message, _)| {
            let tidegate_decisions::Message { id, received_ms, redelivered, .. } = *recorded;
            Input { id, message, received_ms, redelivered }
        };
        let inputs: Vec<Input<'_>> = batch.iter().zip(&messages).map(input).collect();
        let Self { rerun, route, shape, .. } = self;
        for (recorded, (message, verdict)) in batch.iter().zip(rerun.decide(0, &inputs)) {
            found.compare(recorded, decision(route, shape, message, verdict));
        }
        batch.clear();
    }

    fn tick(&mut self, tick: Tick, found: &mut Replayed) {
        found.ticks += 1;
        let made = self.rerun.tick(&tick.plugin, tick.now_ms).unwrap_or_default();
        let sent = |(message, to): (Message, Option<std::sync::Arc<str>>)| Sent {
            to: to.iter().map(|name| (**name).into()).collect(),
            content: Content::of(&message, Payloads::Whole),
        };
        let other = Decision { sent: made.into_iter().map(sent).collect(), end: End::Onward };
        if let Some(updated) = &mut found.updated {
            updated.push(Entry::Tick(Tick { sent: other.sent.clone(), ..tick.clone() }));
        }
        let one = Decision { sent: tick.sent, end: End::Onward };
        let (route, broker, at_ms) = (tick.route, tick.plugin, tick.now_ms);
        let sample = || Sample { at_ms, route, broker, came: None, one: one.clone(), other: other.clone() };
        found.differences.add(&one, &other, sample);
    }
}

/// What a verdict comes to at the targets.
fn decision(route: &Route, shape: &Shape, message: Message, verdict: Verdict) -> Decision {
    let mut decision = Decision::default();
    let onward = |mut message: Message, decision: &mut Decision| {
        if shape.remap(&mut message, &mut BytesMut::new()).is_err() {
            decision.end = End::Dropped(DropReason::Remap.word().into(), false);
            return;
        }
        shape.dress(&mut message);
        let to = route.to.iter().map(|name| name.as_str().into()).collect();
        decision.sent.push(Sent { to, content: Content::of(&message, Payloads::Whole) });
    };
    match verdict {
        Verdict::Onward => onward(message, &mut decision),
        Verdict::Outputs(outputs) => {
            for (to, mut message) in outputs {
                match to {
                    To::Onward => onward(message, &mut decision),
                    To::Target(name) => {
                        shape.dress(&mut message);
                        let content = Content::of(&message, Payloads::Whole);
                        decision.sent.push(Sent { to: vec![(*name).into()], content });
                    }
                }
            }
        }
        Verdict::Drop(reason) => decision.end = End::Dropped((*reason).into(), true),
        Verdict::Failed => decision.end = End::Dropped(DropReason::PluginFailed.word().into(), false),
        Verdict::Park(why) => {
            decision.end = End::Failed((*why.plugin).into(), why.kind.into(), why.reason.as_str().into());
        }
    }
    decision
}

impl Replayed {
    /// An entry that stays what it is.
    fn stays(&mut self, entry: Entry) {
        if let Some(updated) = &mut self.updated {
            updated.push(entry);
        }
    }

    fn compare(&mut self, recorded: &tidegate_decisions::Message, other: Decision) {
        let one = &recorded.decision;
        let mut other = other;
        // Of payloads that were not recorded nothing is known.
        if recorded.came.payload.whole().is_none() {
            for (sent, known) in other.sent.iter_mut().zip(&one.sent) {
                sent.content.payload = known.content.payload.clone();
            }
        }
        if let Some(updated) = &mut self.updated {
            updated.push(Entry::Message(tidegate_decisions::Message { decision: other.clone(), ..recorded.clone() }));
        }
        let sample = || Sample {
            at_ms: recorded.received_ms,
            route: recorded.route.clone(),
            broker: recorded.broker.clone(),
            came: Some(recorded.came.clone()),
            one: one.clone(),
            other: other.clone(),
        };
        self.differences.add(one, &other, sample);
    }
}
