//! The JSON schema in `config/tidegate.schema.json`, made of what is asked for while the reference is read.
//!
//! `TIDEGATE_BLESS=1` writes it. What an editor shows of a key is the comment beside it in the reference.

use crate::sources::Sources;
use crate::tree::Context;
use crate::tree::asked::{AllAsked, Asked, Kind};
use crate::tree::{BESIDE_NAMES, ENTRIES};
use crate::{SCHEMA, read_and_check, variables};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Every key once.
const REFERENCE: &str = include_str!("../../../config/tidegate.toml");

/// What the reference cannot have beside it: other kinds of values of the same keys. It need not be a good one.
const BESIDE: &str = r#"
[brokers.a]
url = "mqtt://a"
probe = "tidegate/probe"
status = true
[brokers.b]
url = "mqtt://b"
status = { home_assistant = true }
[brokers.c]
url = "mqtt://c"
status = { home_assistant = "ha" }
[targets.x]
policy = "all"
members = ["a"]
require = "any"
[targets.y]
policy = "all"
members = ["a"]
require = "all"
[targets.z]
policy = "all"
members = ["a", "b"]
require = 1
[plugins.p]
path = "p.wasm"
grants = { state = "shared" }
probation = false
[[routes]]
name = "r"
from = { broker = "a", topics = ["x"] }
to = ["b"]
workers = { count = 4, level = 1 }
"#;

fn asked(text: &str) -> AllAsked {
    let sources = Sources::alone(text, Path::new("tidegate.toml"), Path::new("/"));
    let context = Context::new(&sources);
    read_and_check(&context, &sources, &variables::Nowhere);
    context.asked.into_inner()
}

/// The comment at a key, if it is about no other, with the lines that go on with it.
fn comment(key: &str, at: usize) -> Option<String> {
    let line = REFERENCE[..at].rfind('\n').map_or(0, |end| end + 1);
    let mut lines = REFERENCE[line..].lines();
    let first = lines.next()?;
    if first.split('=').next().unwrap_or_default().trim() != key {
        return None;
    }
    // Strings in the reference have no `#` behind a blank.
    let mut words = first.split_once(" # ").map(|(_, words)| words.trim().to_owned()).unwrap_or_default();
    for line in lines {
        let Some(more) = line.strip_prefix("   ").map(str::trim_start).and_then(|line| line.strip_prefix('#')) else {
            break;
        };
        words = format!("{words} {}", more.trim());
    }
    let words = words.trim().to_owned();
    (!words.is_empty()).then_some(words)
}

/// The value at a key, where the comment says that it is the default.
fn default(at: usize, words: &str) -> Option<Value> {
    if words != "default" && !words.starts_with("default;") {
        return None;
    }
    let line = REFERENCE[..at].rfind('\n').map_or(0, |end| end + 1);
    let (_, value) = REFERENCE[line..].lines().next()?.split_once(" = ")?;
    serde_json::from_str(value.split(" #").next()?.trim()).ok()
}

/// A variable may stand for any text.
const VARIABLE: &str = "\\$\\{";

fn schema_of(kind: &Kind, names: &BTreeMap<&str, String>) -> Value {
    let refer = |section: &str| json!({"$ref": format!("#/$defs/{}", names[section])});
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Number { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Size { min, max } => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": format!("^[0-9]+ *(B|KiB|MiB|GiB|kB|MB|GB)$|{VARIABLE}")},
        ]}),
        Kind::Duration => json!({"anyOf": [
            {"const": 0},
            {"type": "string", "pattern": format!("^ *([0-9]+ *[a-zA-Zµ]+ *)+$|^0$|{VARIABLE}")},
        ]}),
        Kind::Words(words) => json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": VARIABLE}]}),
        Kind::Section(section) => refer(section),
        Kind::Named(section) => json!({
            "type": "object", "additionalProperties": refer(section),
            "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"},
        }),
        Kind::Sections(section) => json!({"type": "array", "items": refer(section)}),
        Kind::Table => json!({"type": "object", "additionalProperties": true}),
    }
}

fn key_schema(key: &str, asked: &Asked, entries: Option<&Asked>, names: &BTreeMap<&str, String>) -> Value {
    let has_text = asked.kinds.contains(&Kind::Text);
    let has_section = asked.kinds.iter().any(|kind| matches!(kind, Kind::Section(_) | Kind::Named(_)));
    let mut words: Vec<String> = Vec::new();
    let mut kinds = Vec::new();
    for kind in &asked.kinds {
        match kind {
            // What is any text, or what has its own keys, says it all.
            // As many as there are members.
            Kind::Number { min, .. } if key == "require" => kinds.push(json!({"type": "integer", "minimum": min})),
            Kind::Words(_) if has_text => {}
            Kind::Table if has_section => {}
            Kind::Table => {
                let values = entries.map_or(json!(true), |entries| key_schema(key, entries, None, names));
                kinds.push(json!({"type": "object", "additionalProperties": values}));
            }
            Kind::Words(some) => {
                words.extend(some.iter().filter(|word| !words.contains(word)).cloned().collect::<Vec<_>>())
            }
            kind => kinds.push(schema_of(kind, names)),
        }
    }
    if !words.is_empty() {
        kinds.push(schema_of(&Kind::Words(words), names));
    }
    let mut schema = match kinds.len() {
        0 => json!({}),
        1 => kinds.remove(0),
        _ => json!({"anyOf": kinds}),
    };
    let found = asked.found.as_ref().and_then(|at| Some((at.start, comment(key, at.start)?)));
    if let (Some((at, words)), Some(object)) = (found, schema.as_object_mut()) {
        object.extend(default(at, &words).map(|value| ("default".to_owned(), value)));
        object.insert("description".to_owned(), words.into());
    }
    schema
}

/// A name for each kind of section: the key that it stands at, with a number where that is taken.
fn names(all: &AllAsked) -> BTreeMap<&'static str, String> {
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for section in all.sections.keys() {
        // Such as `[[brokers.<name>.access]]`, or `limits = { ... }`.
        let path = section.split('=').next().unwrap_or_default().trim().trim_matches(['[', ']']);
        let word = path.split('.').rfind(|part| !part.starts_with('<')).unwrap_or(path);
        let word: String = word.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let mut name = word.clone();
        let mut count = 1;
        while names.values().any(|taken| *taken == name) {
            count += 1;
            name = format!("{word}-{count}");
        }
        names.insert(section, name);
    }
    names
}

fn made() -> String {
    let (mut all, beside) = (asked(REFERENCE), asked(BESIDE));
    for ((section, key), mut more) in beside.keys {
        // It is no place in the reference.
        more.found = None;
        let known = all.keys.entry((section, key)).or_default();
        known.required += more.required;
        known.kinds.extend(more.kinds.into_iter().filter(|kind| !known.kinds.contains(kind)).collect::<Vec<_>>());
    }
    for (section, count) in beside.sections {
        *all.sections.entry(section).or_default() += count;
    }
    let names = names(&all);
    let mut sections: BTreeMap<&str, (Map<String, Value>, Vec<&str>)> = BTreeMap::new();
    for ((section, key), asked) in
        all.keys.iter().filter(|((section, _), _)| ![ENTRIES, BESIDE_NAMES].contains(section))
    {
        let (properties, required) = sections.entry(section).or_default();
        properties.insert((*key).to_owned(), key_schema(key, asked, all.keys.get(&(ENTRIES, *key)), &names));
        if asked.required == all.sections[section] {
            required.push(key);
        }
    }
    let mut defs = Map::new();
    for (section, (properties, required)) in sections {
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        defs.insert(names[section].clone(), schema);
    }
    let mut root = defs.remove("the").expect("the file");
    // A plugin may have the name of the word beside it.
    let engine = key_schema("engine", &all.keys[&(BESIDE_NAMES, "engine")], None, &names);
    let plugin = root["properties"]["plugins"]["additionalProperties"].clone();
    root["properties"]["plugins"]["properties"] = json!({"engine": {"anyOf": [engine, plugin]}});
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate's configuration",
        "$defs": defs,
    });
    for (key, value) in root.as_object().expect("a table") {
        schema[key] = value.clone();
    }
    let text = serde_json::to_string_pretty(&schema).expect("it is JSON");
    format!("{text}\n")
}

#[test]
fn every_key_occurs_in_the_reference() {
    let all = asked(REFERENCE);
    let missing: Vec<_> = all
        .keys
        .iter()
        .filter(|((section, _), asked)| asked.found.is_none() && *section != ENTRIES)
        .map(|(key, _)| key)
        .collect();
    assert!(missing.is_empty(), "not in config/tidegate.toml: {missing:?}");
    assert!(all.keys.len() > 80, "the keys were recorded");
}

#[test]
fn the_schema_is_what_the_code_asks_for() {
    let made = made();
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/tidegate.schema.json");
        std::fs::write(path, &made).unwrap();
    }
    assert!(made == SCHEMA, "TIDEGATE_BLESS=1 writes it anew");
    let schema: Value = serde_json::from_str(&made).unwrap();
    let of = |path: &str| schema.pointer(path).unwrap_or(&Value::Null).clone();
    assert_eq!(of("/$defs/gateway/required"), json!(["data_dir", "name"]));
    assert_eq!(of("/properties/routes/items/$ref"), json!("#/$defs/routes"));
    assert_eq!(of("/$defs/brokers/required"), Value::Null, "the box's own has no url");
    assert_eq!(of("/$defs/routes/properties/name/description"), json!("required; unique"));
    assert_eq!(of("/$defs/workers/required"), json!(["count"]));
}
