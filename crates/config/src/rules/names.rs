//! Names that refer to nothing or to the wrong thing, and names that are used twice.

use crate::model::Config;
use crate::problem::{Span, did_you_mean};
use crate::sections::{Draft, Written};
use crate::tree::{At, Context};
use crate::values::shown;
use std::collections::BTreeMap;

/// Reports them.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    let names = Names { context, draft, config: &draft.config, written: &draft.written };
    names.names_used_twice();
    names.listeners();
    names.target_sets();
    names.grants();
    names.routes();
}

struct Names<'c> {
    context: &'c Context<'c>,
    draft: &'c Draft,
    config: &'c Config,
    written: &'c Written,
}

impl Names<'_> {
    fn names_used_twice(&self) {
        for (name, set) in self.written.targets.iter().filter(|(name, _)| self.written.brokers.contains_key(*name)) {
            let what = format!("{} is the name of a broker and of a target set", shown(name));
            self.context.error(&set.at, what, "rename one of them: routes could mean either");
        }
        let mut seen = BTreeMap::new();
        for (route, written) in self.draft.routes().filter(|(route, _)| !route.name.is_empty()) {
            if let Some(first) = seen.get(route.name.as_str()) {
                let (line, _) = self.context.findings.position(*first);
                let what = format!("there is a route {} in line {line} already", shown(&route.name));
                self.context.error(&written.at, what, "give this one another name");
            } else {
                seen.insert(route.name.as_str(), written.at.start);
            }
        }
    }

    /// Two of the box's own brokers cannot listen at one address.
    fn listeners(&self) {
        let mut seen = BTreeMap::new();
        for (name, broker) in self.config.brokers.iter().filter_map(|(name, broker)| Some((name, broker.embedded()?))) {
            for listen in broker.listen.iter().filter(|listen| listen.addr.port() != 0) {
                let Some(other) = seen.insert(listen.addr, name) else { continue };
                if other != name {
                    let what = format!("brokers `{other}` and `{name}` both listen on {}", listen.addr);
                    self.context.error(&self.written.brokers[name], what, "give one of them another port");
                } else if broker.listen.iter().filter(|same| *same == listen).count() == 1 {
                    let what = format!("`{name}` listens on {} twice", listen.addr);
                    self.context.error(&self.written.brokers[name], what, "give mqtt and ws a port each");
                }
            }
        }
    }

    fn target_sets(&self) {
        for At { value: member, at } in self.written.targets.values().flat_map(|set| &set.members) {
            if self.is_target_set(member) {
                let what = format!("{} is a target set, and members are brokers", shown(member));
                self.context.error(at, what, "name its brokers here");
            } else {
                self.broker(member, at);
            }
        }
    }

    fn grants(&self) {
        self.written.plugins.values().flat_map(|plugin| &plugin.targets).for_each(|target| self.target(target));
    }

    fn routes(&self) {
        for (route, written) in self.draft.routes() {
            let source = &route.from.broker;
            if !self.is_target_set(source) {
                self.broker(source, &written.broker);
            } else {
                let what = format!("{} is a target set, which messages go to, not come from", shown(source));
                self.context.error(&written.broker, what, "make a route from each of its brokers");
            }
            for At { value: plugin, at } in &written.plugins {
                if !self.config.plugins.contains_key(plugin) {
                    let known = self.config.plugins.keys().map(String::as_str);
                    self.unknown("plugin", "[plugins.<name>]", plugin, at, known);
                }
            }
            written.to.iter().for_each(|target| self.target(target));
        }
    }

    /// A target set, and not a broker too.
    fn is_target_set(&self, name: &str) -> bool {
        self.config.targets.contains_key(name) && !self.config.brokers.contains_key(name)
    }

    /// The name must be a broker's.
    fn broker(&self, name: &str, at: &Span) {
        if name.is_empty() || self.config.brokers.contains_key(name) {
            return; // an empty name stands for one that was reported
        }
        let known = self.config.brokers.keys().map(String::as_str);
        self.unknown("broker", "[brokers.<name>]", name, at, known);
    }

    /// The name must be a broker's or a target set's.
    fn target(&self, At { value: name, at }: &At<String>) {
        if self.config.brokers.contains_key(name) || self.config.targets.contains_key(name) {
            return;
        }
        let known = self.config.brokers.keys().chain(self.config.targets.keys()).map(String::as_str);
        self.unknown("broker or target set", "[brokers.<name>]", name, at, known);
    }

    fn unknown<'n>(&self, what: &str, kind: &str, name: &str, at: &Span, known: impl Iterator<Item = &'n str> + Clone) {
        let hint = match did_you_mean(name, known.clone()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.clone().next().is_none() => format!("add a section `{kind}`; there is none yet"),
            None => {
                /// The most names that a hint lists.
                const SHOWN: usize = 8;
                let more = if known.clone().count() > SHOWN { ", ..." } else { "" };
                let names = known.take(SHOWN).collect::<Vec<_>>().join(", ");
                format!("add a section `{kind}`, or name one of {names}{more}")
            }
        };
        self.context.error(at, format!("there is no {what} {}", shown(name)), hint);
    }
}
