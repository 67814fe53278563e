//! Reads `[[routes]]`.

use super::lists::{filters, names, values_of};
use super::remap::read_remap;
use super::scalars::{check_order, read_qos};
use super::share::read_share;
use crate::bounds;
use crate::model::{Ack, OnFailure, Priority, Retain, Retained, Retry, Route, Source, SourceSet, Workers};
use crate::problem::Span;
use crate::topics::{FilterTree, Pattern};
use crate::tree::{At, Section, Value};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use tidegate_message::{QoS, TopicFilter};
use toml::de::DeValue;

/// A route's names and filters as they are written.
#[derive(Debug)]
pub(crate) struct WrittenRoute {
    /// Of the name, or of the route if it has none.
    pub(crate) at: Span,
    /// Of the name of the broker or source that it takes from.
    pub(crate) source: Span,
    pub(crate) topics: Vec<At<TopicFilter>>,
    pub(crate) plugins: Vec<At<String>>,
    pub(crate) to: Vec<At<String>>,
    pub(crate) required: Vec<At<String>>,
    /// Of the route if there is none.
    pub(crate) remap: Span,
    /// Where it says that it goes both ways, if it does.
    pub(crate) both: Option<Span>,
    /// Where it says that it shares its source with other gateways, if it does.
    pub(crate) share: Option<Span>,
}

/// Makes a section into a route. What could not be used is empty.
pub(crate) fn read_route(
    mut section: Section<'_, '_, '_, '_>,
    sources: &BTreeMap<String, SourceSet>,
    allow_control: bool,
) -> (Route, WrittenRoute) {
    let context = section.context;
    let name = section.require("name", "\"telemetry\"").and_then(|value| value.text());
    if let Some(name) = &name {
        context.check_name("route", name.value, &name.at);
    }
    let from = section.require("from", "{ broker = \"home\", topics = [\"dev/#\"] }");
    let from = from.and_then(|value| value.section("from = { broker = \"home\", topics = [\"dev/#\"] }"));
    let from = from.map(|section| read_source(section, sources));
    let (from, share, source, topics) = from.unwrap_or_else(|| {
        let (brokers, set, topics) = (Vec::new(), None, Vec::new());
        let from = Source { brokers, set, topics, qos: QoS::AtLeastOnce, retained: Retained::default() };
        (from, None, section.at.clone(), Vec::new())
    });
    let plugins = names(context, "plugins", section.texts("plugins").unwrap_or_default());
    let to = names(context, "to", section.texts("to").unwrap_or_default());
    let required = section.texts("required");
    if required.as_ref().is_some_and(Vec::is_empty) {
        let what = "`required` is empty, so nothing would ever be known to have arrived";
        context.error(&section.at, what, "name one of `to` in it, or leave it out to wait for all");
    }
    let required = required.map(|list| names(context, "required", list));
    let remap = section
        .section("remap", "remap = { strip = \"dev/\", prefix = \"site/\" }")
        .map(|inner| (inner.at.clone(), read_remap(inner, allow_control)));
    let (remap_at, remap) = remap.unzip();
    let direction = section.take("direction");
    let both = direction.as_ref().and_then(|value| value.choice(&[("forward", false), ("both", true)]));
    let both = direction.map(|value| value.at).filter(|_| both == Some(true));
    let ack = section.choice("ack", &[("spooled", Ack::Spooled), ("delivered", Ack::Delivered)]);
    let persist_qos0 = read_persist_qos0(&mut section, ack);
    let priority =
        section.choice("priority", &[("normal", Priority::Normal), ("high", Priority::High), ("low", Priority::Low)]);
    let on_failure = section.choice(
        "on_failure",
        &[("park", OnFailure::Park), ("drop", OnFailure::Drop), ("pass", OnFailure::Pass), ("block", OnFailure::Block)],
    );
    let retry = section.section("retry", "retry = { attempts = 3 }").map(read_retry).unwrap_or_default();
    let tick = section.take("tick").and_then(|value| value.duration(bounds::TICK));
    let workers = section.take("workers").map(|value| read_workers(&value)).unwrap_or_default();
    let qos = section.take("qos").and_then(|value| read_qos(&value));
    let retain = section.choice("retain", &[("keep", Retain::Keep), ("clear", Retain::Clear)]);
    let at = name.as_ref().map_or(section.at.clone(), |name| name.at.clone());
    let remap_at = remap_at.unwrap_or(section.at.clone());
    section.finish();
    let name = name.map(|name| name.value.to_owned()).unwrap_or_default();
    for plugin in &plugins {
        context.place(format!("routes.{name}.plugins.{}", plugin.value), &plugin.at);
    }
    let route = Route {
        name,
        from,
        plugins: values_of(&plugins),
        to: values_of(&to),
        required: required.as_deref().map(values_of),
        remap: remap.flatten(),
        ack,
        on_failure,
        retry,
        tick,
        workers,
        qos,
        retain,
        persist_qos0,
        priority,
    };
    let required = required.unwrap_or_default();
    (route, WrittenRoute { at, source, topics, plugins, to, required, remap: remap_at, both, share })
}

fn read_source(
    mut section: Section<'_, '_, '_, '_>,
    sources: &BTreeMap<String, SourceSet>,
) -> (Source, Option<Span>, Span, Vec<At<TopicFilter>>) {
    let set = section.take("source");
    let (mut brokers, mut at) = (Vec::new(), section.at.clone());
    if let Some(set) = &set
        && let Some(broker) = section.take("broker")
    {
        broker.error("a route takes from a `broker` or from a `source`, not from both", "leave out one of them");
        at = set.at.clone();
    } else if set.is_none()
        && let Some(broker) = section.require("broker", "\"home\"").and_then(|value| value.text())
    {
        (brokers, at) = (vec![broker.value.to_owned()], broker.at);
    }
    let set = set.and_then(|value| value.text()).map(|name| {
        at = name.at;
        name.value.to_owned()
    });
    // That there is none of this name is reported elsewhere.
    brokers.extend(set.iter().filter_map(|name| sources.get(name)).flat_map(|set| set.brokers.iter().cloned()));
    let list = section.require("topics", "[\"dev/#\"]").and_then(|value| value.texts());
    if list.as_ref().is_some_and(Vec::is_empty) {
        section.context.error(&section.at, "`topics` is empty, so no message would come", "name a filter in it");
    }
    let topics = filters(section.context, list.unwrap_or_default());
    let (topics, share) = read_share(&mut section, topics);
    check_covered(&section, &topics);
    let qos = section.take("qos").and_then(|value| read_qos(&value)).unwrap_or(QoS::AtLeastOnce);
    let retained = section
        .choice("retained", &[("forward", Retained::Forward), ("new", Retained::New), ("never", Retained::Never)]);
    section.finish();
    (Source { brokers, set, topics: values_of(&topics), qos, retained }, share, at, topics)
}

/// A filter that another one of the route covers brings nothing, or the same message twice.
fn check_covered(section: &Section<'_, '_, '_, '_>, topics: &[At<TopicFilter>]) {
    let patterns: Vec<Pattern> = topics.iter().map(|filter| Pattern::of(&filter.value)).collect();
    let (mut all, mut known) = (FilterTree::default(), HashSet::with_capacity(topics.len()));
    for (at, pattern) in patterns.iter().enumerate().filter(|(at, _)| known.insert(&topics[*at].value)) {
        all.insert(pattern, at);
    }
    for (at, filter) in topics.iter().enumerate() {
        let covers = |other: usize| {
            let (by, filter) = (&topics[other].value, &filter.value);
            // Of two that cover each other the first stays.
            other != at && by.share() == filter.share() && by.covers(filter) && (!filter.covers(by) || other < at)
        };
        let mut first: Option<usize> = None;
        let _ = all.covering(&patterns[at], |other| {
            if covers(other) {
                first = Some(first.map_or(other, |first| first.min(other)));
            }
            ControlFlow::Continue(())
        });
        if let Some(first) = first {
            let what = format!("`{}` is covered by `{}` already", filter.value, topics[first].value);
            section.context.warning(&filter.at, what, "leave it out");
        }
    }
}

/// Only where there is a spool to keep them in.
fn read_persist_qos0(section: &mut Section<'_, '_, '_, '_>, ack: Ack) -> bool {
    let Some(value) = section.take("persist_qos0") else { return false };
    let persist = value.flag().unwrap_or(false);
    if persist && ack == Ack::Delivered {
        let what = "`persist_qos0` keeps messages in the spool, which `ack = \"delivered\"` does without";
        value.error(what, "write `ack = \"spooled\"`, or leave out `persist_qos0`");
        return false;
    }
    persist
}

fn read_retry(mut section: Section<'_, '_, '_, '_>) -> Retry {
    let at = section.at.clone();
    let attempts = section.number("attempts", bounds::ATTEMPTS) as u32; // the bounds keep it within
    let min = section.duration("min", bounds::RETRY_MIN);
    let max = section.duration("max", bounds::RETRY_MAX);
    check_order(section.context, &at, min, max);
    section.finish();
    Retry { attempts, min, max }
}

/// `workers = 4`, or `workers = { count = 4, level = 1 }`.
fn read_workers(value: &Value<'_, '_, '_, '_>) -> Workers {
    let (count, level) = match value.any() {
        DeValue::Integer(_) => (value.number(bounds::WORKERS), None),
        DeValue::Table(_) => {
            let Some(mut section) = value.section("workers = { count = 4, level = 1 }") else {
                return Workers::default();
            };
            let count = section.require("count", "4").and_then(|count| count.number(bounds::WORKERS));
            let level = section.take("level").and_then(|level| level.number(bounds::LEVEL));
            section.finish();
            (count, level)
        }
        _ => {
            let hint = "write `workers = 4`, or `workers = { count = 4, level = 1 }`";
            value.error("`workers` is neither a whole number nor a table", hint);
            return Workers::default();
        }
    };
    // The bounds keep both within.
    Workers { count: count.unwrap_or(bounds::WORKERS.default) as usize, level: level.map(|level| level as usize) }
}
