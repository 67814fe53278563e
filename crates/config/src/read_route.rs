//! Reads `[[routes]]`.

use crate::bounds;
use crate::checked::{Ack, OnFailure, Priority, Retain, Retry, Route, Source};
use crate::problem::Span;
use crate::read::{filters, names, split};
use crate::read_broker::check_order;
use crate::reader::{At, Section, Value};
use crate::remap::Remap;
use crate::text;
use crate::values::why_and_hint;
use tidegate_message::{QoS, Topic, TopicFilter};

/// Where in the text a route's names are. Lists run beside the lists of the route.
#[derive(Debug)]
pub(crate) struct RouteMarks {
    /// Of the name, or of the route if it has none.
    pub(crate) name: Span,
    pub(crate) broker: Span,
    pub(crate) topics: Vec<Span>,
    pub(crate) plugins: Vec<Span>,
    pub(crate) to: Vec<Span>,
    pub(crate) required: Vec<Span>,
    pub(crate) remap: Span,
}

/// Makes a section into a route. What could not be used is empty.
pub(crate) fn read_route(mut section: Section<'_, '_, '_, '_>, allow_control: bool) -> (Route, RouteMarks) {
    let reader = section.reader;
    let name = section.require("name", "\"telemetry\"").and_then(|value| value.text());
    if let Some(name) = &name {
        reader.check_name("route", name.value, &name.at);
    }
    let from = section.require("from", "{ broker = \"home\", topics = [\"dev/#\"] }");
    let from =
        from.and_then(|value| value.section("from = { broker = \"home\", topics = [\"dev/#\"] }")).map(read_source);
    let (from, broker, topics) = from.unwrap_or_else(|| {
        (Source { broker: String::new(), topics: Vec::new(), qos: QoS::AtLeastOnce }, section.at.clone(), Vec::new())
    });
    let (plugins, plugins_at) = split(names(reader, "plugins", section.texts("plugins").unwrap_or_default()));
    let (to, to_at) = split(names(reader, "to", section.texts("to").unwrap_or_default()));
    let required = section.texts("required");
    if required.as_ref().is_some_and(Vec::is_empty) {
        let what = "`required` is empty, so nothing would ever be known to have arrived";
        reader.error(&section.at, what, "name one of `to` in it, or leave it out to wait for all");
    }
    let (required, required_at) = required.map(|list| split(names(reader, "required", list))).unzip();
    let remap = section
        .section("remap", "remap = { strip = \"dev/\", prefix = \"site/\" }")
        .map(|inner| (inner.at.clone(), read_remap(inner, allow_control)));
    let (remap_at, remap) = remap.unzip();
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
    let qos = section.take("qos").and_then(|value| read_qos(&value));
    let retain = section.choice("retain", &[("keep", Retain::Keep), ("clear", Retain::Clear)]);
    let marks = RouteMarks {
        name: name.as_ref().map_or(section.at.clone(), |name| name.at.clone()),
        broker,
        topics,
        plugins: plugins_at,
        to: to_at,
        required: required_at.unwrap_or_default(),
        remap: remap_at.unwrap_or(section.at.clone()),
    };
    section.finish();
    let name = name.map(|name| name.value.to_owned()).unwrap_or_default();
    let remap = remap.flatten();
    let route = Route {
        name,
        from,
        plugins,
        to,
        required,
        remap,
        ack,
        on_failure,
        retry,
        tick,
        qos,
        retain,
        persist_qos0,
        priority,
    };
    (route, marks)
}

fn read_source(mut section: Section<'_, '_, '_, '_>) -> (Source, Span, Vec<Span>) {
    let broker = section.require("broker", "\"home\"").and_then(|value| value.text());
    let list = section.require("topics", "[\"dev/#\"]").and_then(|value| value.texts());
    if list.as_ref().is_some_and(Vec::is_empty) {
        section.reader.error(&section.at, "`topics` is empty, so no message would come", "name a filter in it");
    }
    let topics = filters(section.reader, list.unwrap_or_default());
    check_covered(&section, &topics);
    let (topics, topics_at) = split(topics);
    let qos = section.take("qos").and_then(|value| read_qos(&value)).unwrap_or(QoS::AtLeastOnce);
    let broker_at = broker.as_ref().map_or(section.at.clone(), |name| name.at.clone());
    section.finish();
    let broker = broker.map(|name| name.value.to_owned()).unwrap_or_default();
    (Source { broker, topics, qos }, broker_at, topics_at)
}

/// A filter that another one of the route covers brings nothing, or the same message twice.
fn check_covered(section: &Section<'_, '_, '_, '_>, topics: &[At<TopicFilter>]) {
    for (at, filter) in topics.iter().enumerate() {
        let covers = |(other, by): &(usize, &At<TopicFilter>)| {
            let (by, filter) = (&by.value, &filter.value);
            // Of two that cover each other the first stays.
            *other != at && by.share() == filter.share() && by.covers(filter) && (!filter.covers(by) || *other < at)
        };
        if let Some((_, by)) = topics.iter().enumerate().find(covers) {
            let what = format!("`{}` is covered by `{}` already", filter.value, by.value);
            section.reader.warning(&filter.at, what, "leave it out");
        }
    }
}

/// 0, 1 or 2.
pub(crate) fn read_qos(value: &Value<'_, '_, '_, '_>) -> Option<QoS> {
    let number = value.number(bounds::Number { default: 1, min: 0, max: 2 })?;
    QoS::from_u8(number as u8) // at most 2
}

fn read_remap(mut section: Section<'_, '_, '_, '_>, allow_control: bool) -> Option<Remap> {
    let reader = section.reader;
    let strip = section.text("strip").map(|text| text.value.to_owned()).unwrap_or_default();
    let prefix = section.text("prefix");
    let response_topic = section.flag("response_topic", false);
    let at = section.at.clone();
    section.finish();
    if let Some(prefix) = &prefix
        && !prefix.value.is_empty()
        && let Err(error) = Topic::new(prefix.value.to_owned())
    {
        let hint = "write the levels that topics are to begin with, such as \"site/cottage/\"";
        let why = why_and_hint(&error, hint).0;
        reader.error(&prefix.at, format!("`prefix` would make topics that cannot be: {why}"), hint);
        return None;
    }
    if let Some(prefix) = &prefix
        && !allow_control
    {
        text::check_portable(reader, "prefix", prefix);
    }
    let prefix = prefix.map(|text| text.value.to_owned()).unwrap_or_default();
    if strip.is_empty() && prefix.is_empty() {
        reader.warning(&at, "this `remap` changes nothing", "set `strip` or `prefix`, or leave it out");
    }
    Some(Remap { strip, prefix, response_topic })
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
    check_order(section.reader, &at, min, max);
    section.finish();
    Retry { attempts, min, max }
}
