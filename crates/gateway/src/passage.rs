//! A message on its way through the plugins of a route, one event after the other, without sending anything.
//!
//! `explain` tells the events to people, `rehearse` holds what comes of them against what is to come.

use crate::plugins::Stage;
use crate::plugins::build::version;
use crate::words;
use bytes::BytesMut;
use tidegate_config as config;
use tidegate_message::Message;
use tidegate_plugin::{Destination, Input, Outcome, Output, run_here};
use tidegate_router::Shape;

/// What happens on the way.
#[derive(Debug)]
pub(crate) struct Event {
    /// The plugin of which it is told, with its version.
    pub(crate) plugin: Option<String>,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// It wrote a line into its log.
    Said(String),
    /// Onward, unchanged.
    Passed,
    /// It makes so many messages of it.
    Made(usize),
    /// One of these goes onward.
    Onward(Message),
    /// For a target, which a plugin has chosen or the route has.
    Sent {
        target: String,
        message: Message,
    },
    Dropped(String),
    /// How, and why.
    Failed(&'static str, String),
    /// It gave no answer, which is a bug.
    Silent,
    /// A message gets another name, or another response topic.
    Renamed {
        before: Message,
        after: Message,
    },
    /// It cannot get the name that it is to have.
    NoName(String),
}

/// A route, and the plugins that it has.
pub(crate) struct Passage<'a> {
    pub(crate) route: &'a config::Route,
    pub(crate) stages: &'a mut [Stage],
    pub(crate) received_ms: u64,
    /// The number of the message.
    pub(crate) id: u64,
    pub(crate) events: Vec<Event>,
}

impl Passage<'_> {
    /// Messages that are before the plugin at this place go all the way.
    pub(crate) fn go(&mut self, from: usize, mut messages: Vec<Message>) {
        for at in from..self.stages.len() {
            messages = messages.into_iter().flat_map(|message| self.decide(at, message)).collect();
        }
        let shape = Shape::of(self.route);
        for mut message in messages {
            let before = message.clone();
            if let Err(error) = shape.remap(&mut message, &mut BytesMut::new()) {
                self.tell(None, What::NoName(error.to_string()));
                continue;
            }
            self.tell(None, What::Renamed { before, after: message.clone() });
            for target in &self.route.to {
                self.send(None, target.clone(), &message);
            }
        }
    }

    /// The timers of all plugins are called, of the first one first: what one makes goes through those behind it.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        for at in 0..self.stages.len() {
            let said = run_here(self.stages[at].instance.tick(now_ms));
            let plugin = self.says(at);
            match said {
                Ok(outputs) if outputs.is_empty() => {}
                Ok(outputs) => {
                    let made =
                        outputs.into_iter().filter_map(|output| Some((output.to, output.by_itself()?))).collect();
                    let onward = self.made(at, plugin, made);
                    self.go(at + 1, onward);
                }
                Err(fault) => self.tell(Some(plugin), What::Failed("failed", fault.to_string())),
            }
        }
    }

    fn tell(&mut self, plugin: Option<String>, what: What) {
        self.events.push(Event { plugin, what });
    }

    /// What a plugin is called, after what it has written into its log.
    fn says(&mut self, at: usize) -> String {
        let stage = &self.stages[at];
        let plugin = format!("plugin `{}` ({})", stage.name, version(stage.instance.plugin()));
        for line in stage.instance.plugin().take_lines() {
            self.tell(Some(plugin.clone()), What::Said(line));
        }
        plugin
    }

    /// What one plugin makes of one message: what is to go onward.
    fn decide(&mut self, at: usize, message: Message) -> Vec<Message> {
        let input = Input { id: self.id, message: &message, received_ms: self.received_ms, redelivered: false };
        let mut outcomes = Vec::with_capacity(1);
        run_here(self.stages[at].instance.handle(self.route.from.name(), &[input], &mut outcomes));
        let plugin = self.says(at);
        let outcome = outcomes.pop();
        let not_decided = outcome.as_ref().and_then(words::not_decided);
        let failure = match outcome {
            Some(Outcome::Pass) => {
                self.tell(Some(plugin), What::Passed);
                return vec![message];
            }
            Some(Outcome::Forward(outputs)) => {
                let apply = |output: Output| (output.to, output.applied_to(&message));
                let made = outputs.into_iter().map(apply).collect();
                return self.made(at, plugin, made);
            }
            Some(Outcome::Drop(reason)) => What::Dropped(reason.to_string()),
            Some(_) | None => not_decided.map_or(What::Silent, |(how, why)| What::Failed(how, why)),
        };
        let goes_on = matches!(failure, What::Failed(..)) && self.route.on_failure == config::OnFailure::Pass;
        self.tell(Some(plugin), failure);
        if goes_on { vec![message] } else { Vec::new() }
    }

    fn made(&mut self, at: usize, plugin: String, made: Vec<(Destination, Message)>) -> Vec<Message> {
        self.tell(Some(plugin.clone()), What::Made(made.len()));
        let mut onward = Vec::new();
        for (to, message) in made {
            match to {
                Destination::Onward => {
                    self.tell(Some(plugin.clone()), What::Onward(message.clone()));
                    onward.push(message);
                }
                Destination::Target(to) => {
                    if let Some(name) = self.stages[at].targets.get(usize::from(to)).cloned() {
                        self.send(Some(plugin.clone()), name.to_string(), &message);
                    }
                }
            }
        }
        onward
    }

    fn send(&mut self, plugin: Option<String>, target: String, message: &Message) {
        let mut message = message.clone();
        Shape::of(self.route).dress(&mut message);
        self.tell(plugin, What::Sent { target, message });
    }
}
