//! Puts the keys of a preset into the sections of brokers that name it and have not those keys themselves.
//!
//! It is done to the tree of the text, so that nothing behind it knows of presets: what they bring is read and checked like
//! what was written, at the place where the preset is named.

use super::Preset;
use crate::problem::Span;
use crate::values;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A broker that names a preset.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) preset: &'static Preset,
    /// Where it names it.
    pub(crate) at: Span,
    /// What came with it, as `key = value`.
    pub(crate) keys: Vec<String>,
}

/// Fills all of them; which there were, by name.
pub(crate) fn fill(root: &mut DeTable<'_>) -> BTreeMap<String, Filled> {
    let mut filled = BTreeMap::new();
    let brokers = root.iter_mut().find(|(key, _)| &**key.get_ref() == "brokers");
    let Some(DeValue::Table(brokers)) = brokers.map(|(_, value)| value.get_mut()) else { return filled };
    for (name, broker) in brokers.iter_mut() {
        let DeValue::Table(broker) = broker.get_mut() else { continue };
        let Some((text, at)) = broker.get("preset").and_then(|value| Some((value.get_ref().as_str()?, value.span())))
        else {
            continue;
        };
        // One that nobody knows is reported by those who read the key.
        let Some(preset) = super::named(text) else { continue };
        // The box's own broker has no url, and no preset is for it.
        let Some(url) = broker.get("url") else { continue };
        let url = url.get_ref().as_str().and_then(|url| values::broker_url(url).ok());
        let mut keys = Vec::new();
        let at_port = preset.at_port.iter().filter(|(port, _)| url.as_ref().is_some_and(|url| url.port == *port));
        for table in at_port.map(|(_, table)| table).chain([&preset.broker]) {
            for (key, value) in table {
                // Without TLS there is nothing to say of it, as the limits do.
                if &**key.get_ref() != "tls" || url.as_ref().is_some_and(|url| url.scheme.is_tls()) {
                    put(broker, key, value, &at, "", &mut keys);
                }
            }
        }
        filled.insert(name.get_ref().to_string(), Filled { preset, at, keys });
    }
    filled
}

/// One key, unless it is there; a table key by key.
fn put(
    table: &mut DeTable<'_>,
    key: &Spanned<DeString<'static>>,
    value: &Spanned<DeValue<'static>>,
    at: &Span,
    within: &str,
    keys: &mut Vec<String>,
) {
    let name = format!("{within}{}", key.get_ref());
    let there = table.iter_mut().find(|(other, _)| other.get_ref() == key.get_ref());
    match (there.map(|(_, there)| there.get_mut()), value.get_ref()) {
        (Some(DeValue::Table(there)), DeValue::Table(value)) => {
            value.iter().for_each(|(key, value)| put(there, key, value, at, &format!("{name}."), keys));
        }
        (Some(_), _) => {}
        (None, new) => {
            keys.push(format!("{name} = {}", shown(new)));
            let new = moved(new, at);
            table.insert(Spanned::new(at.clone(), key.get_ref().clone()), Spanned::new(at.clone(), new));
        }
    }
}

/// The same, all of it at another place: its own is in another file.
fn moved<'i>(value: &DeValue<'static>, at: &Span) -> DeValue<'i> {
    match value {
        DeValue::Table(table) => {
            let moved = table.iter().map(|(key, value)| {
                let value = Spanned::new(at.clone(), moved(value.get_ref(), at));
                (Spanned::new(at.clone(), key.get_ref().clone()), value)
            });
            DeValue::Table(moved.collect())
        }
        other => other.clone(),
    }
}

/// As in a file.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Array(list) => {
            format!("[{}]", list.iter().map(|one| shown(one.get_ref())).collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(table) => {
            let keys = table.iter().map(|(key, value)| format!("{} = {}", key.get_ref(), shown(value.get_ref())));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        DeValue::Float(number) => number.to_string(),
        DeValue::Datetime(time) => time.to_string(),
    }
}
