//! From JSON to Sparkplug.
//!
//! The JSON is what `read.rs` writes, or a value alone where the topic names its metric. What the topic says and the JSON says
//! too must be the same. The datatype of a metric is what its JSON says, otherwise what its birth has said.

use crate::births::{self, Birth};
use crate::config::{Write, Written};
use crate::datatype::Datatype;
use crate::encode::{self, Title, shown};
use crate::payload::MAX_NAME_BYTES;
use crate::topic::{Address, Kind, Named, is_no_letter_of_topics};
use crate::{Sparkplug, retyped, wire};
use serde_json::{Map, Value};
use std::collections::HashMap;
use tidegate_sdk::{Decision, Failure, Message, Output, json};

/// So many edge nodes have a counter of their own.
const MAX_COUNTERS: usize = 10_000;

/// The number of `seq` that comes next, of each edge node that data is written for.
#[derive(Default)]
pub(crate) struct Counters(HashMap<String, u8>);

impl Counters {
    /// The number given if there is one, otherwise the one after the last.
    fn next(&mut self, edge: String, given: Option<u64>, is_first: bool) -> u64 {
        if self.0.len() >= MAX_COUNTERS && !self.0.contains_key(&edge) {
            self.0.clear();
        }
        let counter = self.0.entry(edge).or_insert(0);
        if is_first {
            *counter = 0;
        }
        let seq = given.unwrap_or(u64::from(*counter));
        *counter = (seq as u8).wrapping_add(1);
        seq
    }
}

impl Sparkplug {
    pub(crate) fn write(&mut self, message: &Message) -> Result<Decision, Failure> {
        let Some(write) = &self.config.write else { return Ok(Decision::pass()) };
        let Some(named) = write.topics.iter().find_map(|pattern| pattern.fit(&message.topic)) else {
            return Ok(Decision::pass());
        };
        let written = written(write, &mut self.counters, message, named).map_err(Failure::reject)?;
        let (topic, payload) = written;
        let mut output = Output::onward().topic(topic).payload(payload).qos(write.qos()).retain(false);
        output.properties = retyped(&message.properties, None).map(Box::new);
        Ok(output.into())
    }
}

fn written(
    write: &Write,
    counters: &mut Counters,
    message: &Message,
    named: Named,
) -> Result<(String, Vec<u8>), String> {
    if message.payload.len() > write.max_json_bytes {
        let max = write.max_json_bytes;
        return Err(format!("{} bytes of JSON, more than {max}: see `write.max_json_bytes`", message.payload.len()));
    }
    let json = parse(&message.payload)?;
    let head = head(&json, &named)?;
    let address = address(write, head, &named)?;
    let Address { group, kind, edge, device } = address;
    let birth = write.births_of.as_deref().and_then(|broker| births::stored(&births::key(broker, group, edge, device)));

    let metrics = match head.get("metrics") {
        Some(Value::Array(metrics)) => metrics.iter().map(object).collect::<Result<Vec<_>, _>>()?,
        Some(other) => return Err(format!("`metrics` is an array, not {}", shown(other))),
        None if kind.is_death() && named.metric.is_none() && !head.contains_key("name") => Vec::new(),
        None => vec![head],
    };
    let mut payload = wire::Message::new();
    payload.u64(1, number(head, "timestamp")?.unwrap_or(message.received_ms));
    for json in metrics {
        let title = title(write, birth.as_ref(), named.metric, json, message.received_ms)?;
        let name = title.name.unwrap_or_default();
        let metric =
            encode::metric(&title, json, write.integers(), 0).map_err(|why| format!("metric `{name}`: {why}"))?;
        payload.message(2, metric);
    }
    let seq = number(head, "seq")?;
    // Commands and the death of an edge node have no number.
    if !kind.is_command() && kind != Kind::NDeath {
        let seq = counters.next([group, "/", edge].concat(), seq, kind == Kind::NBirth);
        payload.u64(3, seq);
    }
    Ok((address.topic(), payload.into_bytes()))
}

/// An object in any case: of a value alone the one that a metric is.
fn parse(payload: &[u8]) -> Result<Value, String> {
    let json: Value =
        serde_json::from_slice(payload).map_err(|error| match json::find_each(payload, &[], &mut []) {
            Err(not_json) => not_json.told(payload),
            Ok(()) => format!("not JSON that can be read: {error}"),
        })?;
    let is_message =
        |json: &Map<String, Value>| ["metrics", "value", "name", "type"].iter().any(|key| json.contains_key(*key));
    Ok(match json {
        Value::Object(object) if is_message(&object) => Value::Object(object),
        value => Value::Object(Map::from_iter([("value".to_owned(), value)])),
    })
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("a metric is an object, not {}", shown(value)))
}

fn head<'a>(json: &'a Value, named: &Named) -> Result<&'a Map<String, Value>, String> {
    let head = object(json)?;
    if named.metric.is_some() && head.contains_key("metrics") {
        return Err("the topic names one metric, and the JSON has `metrics`".to_owned());
    }
    Ok(head)
}

fn number(json: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match json.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(format!("`{name}` is a whole number from 0, not {}", shown(value))),
        },
    }
}

/// What the topic or the JSON says of it.
fn said<'a>(json: &'a Map<String, Value>, name: &str, by_topic: Option<&'a str>) -> Result<Option<&'a str>, String> {
    let by_json = match json.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(other) => return Err(format!("`{name}` is a text, not {}", shown(other))),
    };
    match (by_topic, by_json) {
        (Some(topic), Some(json)) if topic != json => {
            Err(format!("`{name}` is `{topic}` by the topic, `{json}` by the JSON"))
        }
        (topic, json) => Ok(topic.or(json)),
    }
}

fn address<'a>(write: &Write, json: &'a Map<String, Value>, named: &Named<'a>) -> Result<Address<'a>, String> {
    let level = |name, by_topic| match said(json, name, by_topic)? {
        Some("") => Err(format!("`{name}` is empty")),
        Some(text) if text.contains('/') || text.contains(is_no_letter_of_topics) => {
            Err(format!("`{name}` is {text:?}, which is no level of a topic"))
        }
        said => Ok(said),
    };
    let missing = |name| format!("no `{name}`: neither the topic nor the JSON says it");
    let group = level("group", named.group)?.ok_or_else(|| missing("group"))?;
    let edge = level("edge", named.edge)?.ok_or_else(|| missing("edge"))?;
    let device = level("device", named.device)?;
    let kind = match (said(json, "type", named.kind)?, write.kind, device) {
        (Some(name), ..) => Kind::named(name).ok_or_else(|| format!("`type` is `{name}`, which Sparkplug has not"))?,
        (None, Written::Command, None) => Kind::NCmd,
        (None, Written::Command, Some(_)) => Kind::DCmd,
        (None, Written::Data, None) => Kind::NData,
        (None, Written::Data, Some(_)) => Kind::DData,
    };
    match (kind.is_of_device(), device) {
        (true, None) => Err(missing("device")),
        (false, Some(device)) => Err(format!("{} is of no device, and `device` is `{device}`", kind.name())),
        _ => Ok(Address { group, kind, edge, device }),
    }
}

fn title<'a>(
    write: &Write,
    birth: Option<&'a Birth>,
    by_topic: Option<&'a str>,
    json: &'a Map<String, Value>,
    now_ms: u64,
) -> Result<Title<'a>, String> {
    // A topic cannot hold every letter of a name, so what the JSON says counts.
    let name = said(json, "name", None)?.or(by_topic);
    let alias = number(json, "alias")?;
    let definition = match (name, alias) {
        (Some(name), _) => birth.and_then(|birth| birth.by_name(name)),
        (None, Some(alias)) => birth.and_then(|birth| birth.by_alias(alias)),
        (None, None) => return Err("a metric without a `name` or an `alias`".to_owned()),
    };
    if name.is_some_and(|name| name.len() > MAX_NAME_BYTES) {
        return Err(format!("a name of more than {MAX_NAME_BYTES} bytes"));
    }
    let called = name.map_or_else(|| format!("alias {}", alias.unwrap_or_default()), |name| format!("`{name}`"));
    let datatype = match json.get("datatype") {
        None | Some(Value::Null) => {
            definition.and_then(|definition| definition.datatype).map(Datatype).ok_or_else(|| {
                format!(
                    "the datatype of metric {called} is not known: the JSON has no `datatype`, and no birth says it"
                )
            })?
        }
        Some(value) => encode::datatype(value).map_err(|why| format!("metric {called}: {why}"))?,
    };
    let born = definition.and_then(|definition| definition.alias).filter(|_| write.aliases);
    Ok(Title {
        name: name.filter(|_| born.is_none()),
        alias: alias.or(born),
        timestamp: Some(number(json, "timestamp")?.unwrap_or(now_ms)),
        datatype,
    })
}
