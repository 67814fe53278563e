//! A configuration played through: messages come, time passes, and what would be sent is told, without any broker.
//!
//! Its plugins run for as long as the rehearsal does, so that a sequence of messages is decided as it would be.

use crate::Error;
use crate::explain::refused_by_own;
use crate::passage::{Passage, What};
use crate::plugins::build::Preparer;
use crate::plugins::{NewStage, Stage};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tidegate_config::{self as config, Config, Route};
use tidegate_message::Message;

/// When it begins, in milliseconds since the epoch: 2023-11-14T22:13:20Z, as in samples of plugins.
const BEGINS_MS: u64 = 1_700_000_000_000;

/// No wait calls a timer more often.
const TICKS_MAX: usize = 100_000;

/// What would be sent.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// By which route.
    pub route: String,
    /// A broker or a set.
    pub target: String,
    /// With its topic, QoS and flag there.
    pub message: Message,
}

/// What has become of a message, or of a time that passed.
#[derive(Debug, Clone, Default)]
pub struct Became {
    /// In the order in which they would be sent, by route.
    pub sent: Vec<Delivery>,
    /// Route and reason of what was dropped on purpose.
    pub dropped: Vec<(String, String)>,
    /// Route and words of what could not be decided.
    pub failed: Vec<(String, String)>,
    /// What plugins said meanwhile.
    pub lines: Vec<String>,
    /// How many routes took it.
    pub routes: usize,
}

/// One route and its plugins.
struct Part {
    route: Route,
    stages: Vec<Stage>,
    next_tick_ms: Option<u64>,
}

/// A configuration that is played through.
pub struct Rehearsal {
    config: Config,
    parts: Vec<Part>,
    now_ms: u64,
    count: u64,
}

impl Rehearsal {
    /// Begins anew: every plugin with an empty memory. Slow: it may compile. Nothing is written to the data directory; `cache`
    /// is where the caller keeps compiled code.
    ///
    /// # Errors
    /// What keeps the plugins from being built, as at a start.
    pub fn new(config: &Config, cache: Option<&Path>) -> Result<Self, Error> {
        let mut preparer = Preparer::aside(config, cache)?;
        preparer.keeps_lines = true;
        // One worker shows what all of them would do.
        let alone = |route: &Route| Route { workers: config::Workers::default(), ..route.clone() };
        let mut config = Config { routes: config.routes.iter().map(alone).collect(), ..config.clone() };
        // What is tried beside a plugin is not what a test is about.
        config.plugins.values_mut().for_each(|plugin| plugin.candidate = None);
        let prepared = preparer.prepare(&config, &HashMap::new(), &[]).map_err(Error::Config)?;
        let parts = config.routes.iter().zip(prepared).map(|(route, prepared)| {
            let stages = prepared.swaps.into_iter().flat_map(|swap| swap.stages).filter_map(|stage| match stage {
                NewStage::Fresh(stage) => Some(*stage),
                NewStage::Keep { .. } => None,
            });
            let next_tick_ms = route.tick.map(|every| BEGINS_MS + every.as_millis() as u64);
            Part { route: route.clone(), stages: stages.collect(), next_tick_ms }
        });
        let parts = parts.collect();
        Ok(Self { config, parts, now_ms: BEGINS_MS, count: 0 })
    }

    /// A message comes from a broker.
    pub fn message(&mut self, broker: &str, message: &Message) -> Became {
        let mut became = Became::default();
        self.count += 1;
        for part in &mut self.parts {
            let from = &part.route.from;
            if !from.has(broker) || !from.topics.iter().any(|filter| filter.matches(&message.topic)) {
                continue;
            }
            became.routes += 1;
            let mut passage = Passage {
                route: &part.route,
                stages: &mut part.stages,
                received_ms: self.now_ms,
                id: self.count,
                events: Vec::new(),
            };
            passage.go(0, vec![message.clone()]);
            became.take(&self.config, passage);
        }
        became
    }

    /// Time passes: timers are called when they are due.
    pub fn wait(&mut self, time: Duration) -> Became {
        let mut became = Became::default();
        let until = self.now_ms.saturating_add(time.as_millis() as u64);
        for _ in 0..TICKS_MAX {
            let due = self.parts.iter_mut().filter(|part| part.next_tick_ms.is_some_and(|at| at <= until));
            let Some(part) = due.min_by_key(|part| part.next_tick_ms) else { break };
            let (Some(at), Some(every)) = (part.next_tick_ms, part.route.tick) else { break };
            part.next_tick_ms = Some(at + (every.as_millis() as u64).max(1));
            self.count += 1;
            let mut passage = Passage {
                route: &part.route,
                stages: &mut part.stages,
                received_ms: at,
                id: self.count,
                events: Vec::new(),
            };
            passage.tick(at);
            became.take(&self.config, passage);
        }
        self.now_ms = until;
        became
    }
}

impl Became {
    fn take(&mut self, config: &Config, passage: Passage<'_>) {
        let route = passage.route.name.clone();
        for event in passage.events {
            let plugin = event.plugin.unwrap_or_default();
            match event.what {
                What::Said(line) => self.lines.push(format!("{plugin}: {line}")),
                What::Sent { target, message } => match refused_by_own(config, &target, &message) {
                    Some(refusal) => self.dropped.push((route.clone(), refusal)),
                    None => self.sent.push(Delivery { route: route.clone(), target, message }),
                },
                What::Dropped(reason) => self.dropped.push((route.clone(), reason)),
                What::Failed(how, why) => self.failed.push((route.clone(), format!("{plugin} {how}, \"{why}\""))),
                What::Silent => self.failed.push((route.clone(), format!("{plugin} gave no answer, which is a bug"))),
                What::NoName(why) => self.dropped.push((route.clone(), format!("remap: {why}"))),
                What::Passed | What::Made(_) | What::Onward(_) | What::Renamed { .. } => {}
            }
        }
    }
}
