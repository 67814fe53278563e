//! Names that refer to nothing or to the wrong thing, and names that are used twice.

use crate::model::{Broker, Config, Source};
use crate::problem::{Span, did_you_mean};
use crate::sections::{Draft, Written, WrittenSet};
use crate::tree::{At, Context};
use crate::values::shown;
use std::collections::BTreeMap;

/// Reports them.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    let names = Names { context, draft, config: &draft.config, written: &draft.written };
    names.names_used_twice();
    names.listeners();
    names.sources();
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
        let Written { brokers, sources, targets, .. } = self.written;
        let twice = |name: &String, set: &WrittenSet, both: &str| {
            let what = format!("{} is the name of {both}", shown(name));
            self.context.error(&set.at, what, "rename one of them: routes could mean either");
        };
        for (name, set) in targets.iter().filter(|(name, _)| brokers.contains_key(*name)) {
            twice(name, set, "a broker and of a target set");
        }
        for (name, set) in sources {
            if brokers.contains_key(name) {
                twice(name, set, "a broker and of a source");
            } else if targets.contains_key(name) {
                twice(name, set, "a target set and of a source");
            }
        }
        let mut seen = BTreeMap::new();
        for (route, written) in self.draft.routes().filter(|(route, _)| !route.name.is_empty()) {
            if let Some(first) = seen.get(route.name.as_str()) {
                let line = self.context.findings.line_of(*first, written.at.start);
                let what = format!("there is a route {} in {line} already", shown(&route.name));
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
            for listen in broker.listen.iter().filter(|listen| listen.is_fixed()) {
                let Some(other) = seen.insert(listen.place(), name) else { continue };
                if other != name {
                    let what = format!("brokers `{other}` and `{name}` both listen on {}", listen.place());
                    self.context.error(&self.written.brokers[name], what, "give one of them another port");
                } else if broker.listen.iter().filter(|same| *same == listen).count() == 1 {
                    let what = format!("`{name}` listens on {} twice", listen.place());
                    self.context.error(&self.written.brokers[name], what, "give mqtt and ws a port each");
                }
            }
        }
    }

    fn sources(&self) {
        for (name, set) in &self.written.sources {
            let is_failover = self.config.sources.get(name).is_some_and(|set| set.failover().is_some());
            for At { value: broker, at } in &set.members {
                self.member(broker, at, "a source is made of brokers");
                if is_failover && matches!(self.config.brokers.get(broker), Some(Broker::Nats(_))) {
                    let what = format!("{} keeps all that its stream has, taken elsewhere or not", shown(broker));
                    self.context.error(at, what, "write `policy = \"merge\"`, or a route for each broker");
                }
            }
        }
    }

    fn target_sets(&self) {
        for At { value: member, at } in self.written.targets.values().flat_map(|set| &set.members) {
            self.member(member, at, "members are brokers");
        }
    }

    /// The name must be a broker's, and not another set's.
    fn member(&self, name: &str, at: &Span, of: &str) {
        let kind = match (self.is_target_set(name), self.is_source_set(name)) {
            (true, _) => "a target set",
            (false, true) => "a source of several brokers",
            (false, false) => return self.broker(name, at),
        };
        let what = format!("{} is {kind}, and {of}", shown(name));
        self.context.error(at, what, "name its brokers here");
    }

    fn grants(&self) {
        self.written.plugins.values().flat_map(|plugin| &plugin.targets).for_each(|target| self.target(target));
    }

    fn routes(&self) {
        for (route, written) in self.draft.routes() {
            self.source(&route.from, &written.source);
            for At { value: plugin, at } in &written.plugins {
                if !self.config.plugins.contains_key(plugin) {
                    let known = self.config.plugins.keys().map(String::as_str);
                    self.unknown("plugin", "[plugins.<name>]", plugin, at, known);
                }
            }
            written.to.iter().for_each(|target| self.target(target));
        }
    }

    /// The name must be a broker's, or that of several.
    fn source(&self, from: &Source, at: &Span) {
        let name = from.name();
        if let Some(set) = &from.set {
            if !self.config.sources.contains_key(set) {
                let known = self.config.sources.keys().map(String::as_str);
                self.unknown("source", "[sources.<name>]", set, at, known);
            }
        } else if self.is_target_set(name) {
            let what = format!("{} is a target set, which messages go to, not come from", shown(name));
            self.context.error(at, what, "make a section `[sources.<name>]` of its brokers, and write `source` here");
        } else if self.is_source_set(name) {
            let what = format!("{} is a source of several brokers, not a broker", shown(name));
            self.context.error(at, what, format!("write `source = \"{name}\"` here"));
        } else {
            self.broker(name, at);
        }
    }

    /// A source of several, and not a broker too.
    fn is_source_set(&self, name: &str) -> bool {
        self.config.sources.contains_key(name) && !self.config.brokers.contains_key(name)
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
        if self.is_source_set(name) {
            let what = format!("{} is a source, which messages come from, not go to", shown(name));
            self.context.error(at, what, "make a section `[targets.<name>]` of its brokers, and name that here");
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
