//! A candidate: another version of a plugin that is tried beside the one that runs; what it did, and how it decides otherwise.

use crate::counters::Shared;
use crate::data_path::wall_ms;
use crate::plugins::build::short;
use crate::snapshot::CandidateSnapshot;
use crate::versions::Rule;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_config::Candidate;
use tidegate_decisions::{Content, Decision, Differences, End, Group, Payloads, Sample, Sent};
use tidegate_message::Message;
use tidegate_plugin::{Destination, Outcome, Output};

/// A candidate, as all stages share it in which it is tried.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) plugin: Arc<str>,
    pub(crate) rule: Rule,
    pub(crate) is_canary: bool,
    pub(crate) since_ms: u64,
    /// Messages that it decided, those included on which it failed.
    pub(crate) messages: Shared,
    /// It failed on so many, and refused so many.
    pub(crate) faults: Shared,
    pub(crate) rejects: Shared,
    pub(crate) asked_ns: Shared,
    /// Messages that a shadow did not see, for it was busy.
    pub(crate) missed: Shared,
    /// A shadow decided so many otherwise.
    differ: Shared,
    /// Held for one message at a time: whoever asks for it carries messages, and the shadow's thread gives way to all others.
    differences: Mutex<Differences>,
}

/// What is known of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateDetails {
    /// SHA-256 of its component.
    pub digest: String,
    /// What it is configured with.
    pub config: serde_json::Value,
    /// It decides some messages for real.
    pub is_canary: bool,
    /// Since when it is tried, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Messages that it decided.
    pub messages: u64,
    /// It failed on so many.
    pub failures: u64,
    /// It refused so many.
    pub rejects: u64,
    /// How long it was asked for, in nanoseconds.
    pub asked_ns: u64,
    /// Messages that a shadow did not see, for it was busy.
    pub missed: u64,
    /// A shadow decided so many otherwise.
    pub differ: u64,
    /// How, by kind.
    pub groups: BTreeMap<String, Group>,
}

/// A message, as a shadow has it.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) id: u64,
    pub(crate) message: Message,
    pub(crate) received_ms: u64,
    pub(crate) redelivered: bool,
}

impl Tried {
    pub(crate) fn new(plugin: Arc<str>, rule: Rule, candidate: &Candidate) -> Self {
        Self {
            plugin,
            rule,
            is_canary: matches!(candidate.trial, tidegate_config::Trial::Canary { .. }),
            since_ms: wall_ms(),
            messages: Shared::default(),
            faults: Shared::default(),
            rejects: Shared::default(),
            asked_ns: Shared::default(),
            missed: Shared::default(),
            differ: Shared::default(),
            differences: Mutex::new(Differences::new(candidate.ignore.clone())),
        }
    }

    fn differences(&self) -> MutexGuard<'_, Differences> {
        self.differences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has decided these.
    pub(crate) fn count(&self, outcomes: &[Outcome]) {
        let of = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count() as u64;
        self.messages.add(outcomes.len() as u64);
        self.faults.add(of(|outcome| matches!(outcome, Outcome::Fault(_))));
        self.rejects.add(of(|outcome| matches!(outcome, Outcome::Reject(_))));
    }

    /// Both have decided on these messages.
    pub(crate) fn compare(&self, place: &Place<'_>, inputs: &[Copied], ran: &[Outcome], tried: &[Outcome]) {
        for ((input, ran), tried) in inputs.iter().zip(ran).zip(tried).filter(|((_, ran), tried)| ran != tried) {
            let one = decision(ran, &input.message, &self.plugin, place.targets);
            let other = decision(tried, &input.message, &self.plugin, place.targets);
            let agree = self.differences().add(&one, &other, || Sample {
                at_ms: input.received_ms,
                route: place.route.into(),
                broker: place.source.into(),
                came: Some(kept(&input.message)),
                one: one.clone(),
                other: other.clone(),
            });
            self.differ.add(u64::from(!agree));
        }
    }

    /// The timers of both have said this.
    pub(crate) fn compare_ticks(&self, place: &Place<'_>, now_ms: u64, ran: &[Output], tried: &[Output]) {
        let said = |outputs: &[Output]| {
            let sent = outputs.iter().filter_map(|output| {
                let to = target(output.to, place.targets).into_iter().collect();
                Some(Sent { to, content: kept(&output.clone().by_itself()?) })
            });
            Decision { sent: sent.collect(), end: End::Onward }
        };
        let (one, other) = (said(ran), said(tried));
        let agree = self.differences().add(&one, &other, || Sample {
            at_ms: now_ms,
            route: place.route.into(),
            broker: place.source.into(),
            came: None,
            one: one.clone(),
            other: other.clone(),
        });
        self.differ.add(u64::from(!agree));
    }

    /// So many were decided otherwise.
    pub(crate) fn differ(&self) -> u64 {
        self.differ.get()
    }

    pub(crate) fn snapshot(&self) -> CandidateSnapshot {
        CandidateSnapshot {
            version: short(&self.rule.digest).to_owned(),
            is_canary: self.is_canary,
            messages: self.messages.get(),
            failures: self.faults.get() + self.rejects.get(),
            differ: self.differ(),
            missed: self.missed.get(),
        }
    }

    pub(crate) fn details(&self) -> CandidateDetails {
        let differences = self.differences();
        CandidateDetails {
            digest: self.rule.digest.clone(),
            config: self.rule.config.clone(),
            is_canary: self.is_canary,
            since_ms: self.since_ms,
            messages: self.messages.get(),
            failures: self.faults.get(),
            rejects: self.rejects.get(),
            asked_ns: self.asked_ns.get(),
            missed: self.missed.get(),
            differ: self.differ(),
            groups: differences.groups.clone(),
        }
    }
}

/// Where a message is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) route: &'a str,
    pub(crate) source: &'a str,
    /// The names behind [`Destination::Target`].
    pub(crate) targets: &'a [Arc<str>],
}

/// A message that is kept for people must not keep the buffer alive that it came in.
fn kept(message: &Message) -> Content {
    let mut message = message.clone();
    message.detach();
    Content::of(&message, Payloads::Whole)
}

fn target(to: Destination, targets: &[Arc<str>]) -> Option<Box<str>> {
    match to {
        Destination::Onward => None,
        Destination::Target(at) => targets.get(usize::from(at)).map(|name| (**name).into()),
    }
}

/// What an outcome comes to.
fn decision(outcome: &Outcome, message: &Message, plugin: &str, targets: &[Arc<str>]) -> Decision {
    let end = match outcome {
        Outcome::Pass => {
            let sent = Sent { to: Vec::new(), content: kept(message) };
            return Decision { sent: vec![sent], end: End::Onward };
        }
        Outcome::Forward(outputs) => {
            let sent = outputs.iter().map(|output| Sent {
                to: target(output.to, targets).into_iter().collect(),
                content: kept(&output.clone().applied_to(message)),
            });
            return Decision { sent: sent.collect(), end: End::Onward };
        }
        Outcome::Drop(reason) => End::Dropped((**reason).into(), true),
        Outcome::Reject(reason) => End::Failed(plugin.into(), "reject".into(), reason.as_str().into()),
        Outcome::Retry(reason) => End::Failed(plugin.into(), "retry".into(), reason.as_str().into()),
        Outcome::Fault(fault) => End::Failed(plugin.into(), fault.kind().into(), fault.to_string().into()),
    };
    Decision { sent: Vec::new(), end }
}
