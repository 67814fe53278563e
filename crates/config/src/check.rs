//! What the sections of a configuration say of each other.

use crate::checked::{Config, Route};
use crate::cycle;
use crate::overlap;
use crate::pattern::Pattern;
use crate::problem::{Span, did_you_mean};
use crate::read::{Draft, Marks};
use crate::read_route::RouteMarks;
use crate::reader::Reader;
use crate::values::shown;
use std::collections::{BTreeMap, BTreeSet};

/// Reports names that refer to nothing, or to the wrong thing, and what cannot work together.
pub(crate) fn check(reader: &Reader<'_>, draft: &Draft) {
    let check = Check { reader, config: &draft.config, marks: &draft.marks };
    check.names_used_twice();
    check.listeners();
    check.target_sets();
    check.grants();
    for (route, marks) in check.routes() {
        check.route(route, marks);
    }
    cycle::check(reader, &draft.config, &draft.marks);
    // A name that is written wrongly makes another seem unused.
    if reader.findings.errors() == 0 {
        check.unused();
        overlap::check(reader, &draft.config, &draft.marks);
    }
}

struct Check<'c> {
    reader: &'c Reader<'c>,
    config: &'c Config,
    marks: &'c Marks,
}

impl<'c> Check<'c> {
    fn routes(&self) -> impl Iterator<Item = (&'c Route, &'c RouteMarks)> + use<'c> {
        self.config.routes.iter().zip(&self.marks.routes)
    }

    fn names_used_twice(&self) {
        for (name, marks) in self.marks.targets.iter().filter(|(name, _)| self.marks.brokers.contains_key(*name)) {
            let what = format!("{} is the name of a broker and of a target set", shown(name));
            self.reader.error(&marks.name, what, "rename one of them: routes could mean either");
        }
        let mut seen = BTreeMap::new();
        for (route, marks) in self.routes().filter(|(route, _)| !route.name.is_empty()) {
            if let Some(first) = seen.get(route.name.as_str()) {
                let (line, _) = self.reader.findings.position(*first);
                let what = format!("there is a route {} in line {line} already", shown(&route.name));
                self.reader.error(&marks.name, what, "give this one another name");
            } else {
                seen.insert(route.name.as_str(), marks.name.start);
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
                    self.reader.error(&self.marks.brokers[name], what, "give one of them another port");
                } else if broker.listen.iter().filter(|same| *same == listen).count() == 1 {
                    let what = format!("`{name}` listens on {} twice", listen.addr);
                    self.reader.error(&self.marks.brokers[name], what, "give mqtt and ws a port each");
                }
            }
        }
    }

    fn target_sets(&self) {
        for (name, set) in &self.config.targets {
            for (member, at) in set.members.iter().zip(&self.marks.targets[name].members) {
                if self.is_target_set(member) {
                    let what = format!("{} is a target set, and members are brokers", shown(member));
                    self.reader.error(at, what, "name its brokers here");
                } else {
                    self.broker(member, at);
                }
            }
        }
    }

    fn grants(&self) {
        for (name, plugin) in &self.config.plugins {
            for (target, at) in plugin.grants.targets.iter().zip(&self.marks.plugins[name].targets) {
                self.target(target, at);
            }
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
    fn target(&self, name: &str, at: &Span) {
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
        self.reader.error(at, format!("there is no {what} {}", shown(name)), hint);
    }

    fn route(&self, route: &Route, marks: &RouteMarks) {
        if !self.is_target_set(&route.from.broker) {
            self.broker(&route.from.broker, &marks.broker);
        } else {
            let what = format!("{} is a target set, which messages go to, not come from", shown(&route.from.broker));
            self.reader.error(&marks.broker, what, "make a route from each of its brokers");
        }
        for (plugin, at) in route.plugins.iter().zip(&marks.plugins) {
            if !self.config.plugins.contains_key(plugin) {
                let known = self.config.plugins.keys().map(String::as_str);
                self.unknown("plugin", "[plugins.<name>]", plugin, at, known);
            }
        }
        for (target, at) in route.to.iter().zip(&marks.to) {
            self.target(target, at);
        }
        self.reaches_something(route, marks);
        self.required(route, marks);
        self.remap(route, marks);
        if route.tick.is_some() && route.plugins.is_empty() {
            self.reader.warning(&marks.name, "`tick` calls plugins, and this route has none", "leave it out");
        }
    }

    /// A message that goes nowhere is a mistake, and one that a target gets twice probably is.
    fn reaches_something(&self, route: &Route, marks: &RouteMarks) {
        let unknown = |name: &String| !self.config.plugins.contains_key(name);
        let sends =
            |name: &String| self.config.plugins.get(name).is_some_and(|plugin| !plugin.grants.targets.is_empty());
        if route.to.is_empty() && !route.plugins.iter().any(|name| sends(name) || unknown(name)) {
            let what = format!("route {} leads nowhere", shown(&route.name));
            let hint = "add `to = [\"...\"]`, or a plugin whose `grants` name targets";
            self.reader.error(&marks.name, what, hint);
        }
        let mut reached = BTreeMap::new();
        for (target, at) in route.to.iter().zip(&marks.to) {
            for broker in self.config.brokers_of(target) {
                if let Some(other) = reached.insert(broker, target) {
                    let what = format!("`{broker}` gets messages through `{other}` and through `{target}`");
                    self.reader.warning(at, what, "leave one out if each message is to arrive once");
                }
            }
        }
    }

    fn required(&self, route: &Route, marks: &RouteMarks) {
        for (name, at) in route.required.iter().flatten().zip(&marks.required) {
            if route.to.contains(name) {
                continue;
            }
            let what = format!("`required` names {}, which is not in `to`", shown(name));
            self.reader.error(at, what, "add it to `to`, or leave it out here");
        }
    }

    /// Every topic that a filter lets in must be one that the remap takes and makes a topic of.
    fn remap(&self, route: &Route, marks: &RouteMarks) {
        let Some(remap) = &route.remap else { return };
        if route.to.is_empty() {
            let what = "`remap` is for what goes to `to`, and this route has none";
            self.reader.warning(&marks.remap, what, "leave it out: plugins choose the topics they send to");
            return;
        }
        // A plugin in front of the remap may have changed the topics: then they are its author's to get right.
        if route.plugins.iter().any(|name| may_rewrite(self.config, name)) {
            return;
        }
        for (filter, at) in route.from.topics.iter().zip(&marks.topics) {
            match Pattern::of(filter).remapped(remap) {
                None => self.reader.error(
                    at,
                    format!("topics of `{filter}` need not begin with `{}`, which `remap` strips", remap.strip),
                    "narrow the filter, or strip less",
                ),
                Some(pattern) => {
                    if let Some(Err(error)) = pattern.as_topic() {
                        let what = format!("`remap` makes a topic that cannot be of `{filter}`: {error}");
                        self.reader.error(&marks.remap, what, "strip less, or set `prefix`");
                    }
                }
            }
        }
        let glues = !remap.prefix.is_empty() && !remap.prefix.ends_with('/');
        if glues && (remap.strip.is_empty() || remap.strip.ends_with('/')) {
            let what = format!("`prefix` runs into the level behind it, as in `{}x`", remap.prefix);
            self.reader.warning(&marks.remap, what, format!("write \"{}/\" if that is not meant", remap.prefix));
        }
    }

    fn unused(&self) {
        let mut used = BTreeSet::new();
        let mut plugins = BTreeSet::new();
        for route in &self.config.routes {
            used.insert(route.from.broker.as_str());
            used.extend(route.to.iter().map(String::as_str));
            plugins.extend(route.plugins.iter().map(String::as_str));
        }
        for plugin in self.config.plugins.values() {
            used.extend(plugin.grants.targets.iter().map(String::as_str));
        }
        for (name, marks) in self.marks.targets.iter().filter(|(name, _)| !used.contains(name.as_str())) {
            let what = format!("no route and no grant names the target set `{name}`");
            self.reader.warning(&marks.name, what, "leave it out, or name it in the `to` of a route");
        }
        used.extend(self.config.targets.values().flat_map(|set| &set.members).map(String::as_str));
        for (name, broker) in &self.config.brokers {
            // The box's own broker serves its clients, routes or not.
            if broker.link().is_some() && !used.contains(name.as_str()) {
                let what = format!("no route, target set and grant names the broker `{name}`");
                self.reader.warning(&self.marks.brokers[name], what, "leave it out, or name it in a route");
            }
        }
        for (name, marks) in self.marks.plugins.iter().filter(|(name, _)| !plugins.contains(name.as_str())) {
            let what = format!("no route uses the plugin `{name}`");
            self.reader.warning(&marks.name, what, "leave it out, or name it in the `plugins` of a route");
        }
        if self.config.routes.is_empty() {
            let what = "there are no routes, so no message goes anywhere";
            self.reader.warning(&(0..0), what, "add a section `[[routes]]`");
        }
    }
}

/// Whether a plugin may give messages another topic. An unknown one may; it was reported already.
pub(crate) fn may_rewrite(config: &Config, plugin: &str) -> bool {
    config.plugins.get(plugin).is_none_or(|plugin| !plugin.grants.topics.is_empty())
}
