//! Reads `[sources.<name>]`.

use super::lists::{names, values_of};
use crate::bounds;
use crate::model::{SourcePolicy, SourceSet, TwinKey};
use crate::tree::{At, Section, Value};

/// What a policy may be, without its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failover,
    Merge,
}

/// Makes a section into a source of several brokers; its brokers as they are written beside it.
pub(super) fn read_source_set(mut section: Section<'_, '_, '_, '_>) -> (SourceSet, Vec<At<String>>) {
    let kind = section.choice("policy", &[("failover", Kind::Failover), ("merge", Kind::Merge)]);
    let brokers = section.require("brokers", "[\"a\", \"b\"]").and_then(|value| value.texts());
    let is_written = brokers.is_some();
    let written = names(section.context, "brokers", brokers.unwrap_or_default());
    if is_written && written.len() < 2 {
        let hint = "name two or more in `brokers`, or write `broker` in the route";
        section.context.error(&section.at, "a source of several brokers has at least two", hint);
    }
    let mut of = |key: &'static str, of: Kind| {
        let value = section.take(key)?;
        if kind == of {
            return Some(value);
        }
        let word = if of == Kind::Failover { "failover" } else { "merge" };
        let what = format!("`{key}` is for sources of policy \"{word}\"");
        value.error(what, format!("write `policy = \"{word}\"`, or leave it out"));
        None
    };
    let takeover_after = of("takeover_after", Kind::Failover);
    let failback = of("failback", Kind::Failover);
    let window = of("window", Kind::Merge);
    let key = of("key", Kind::Merge);
    let period = |value: Option<Value<'_, '_, '_, '_>>, bounds: bounds::Period| {
        value.and_then(|value| value.duration(bounds)).unwrap_or(bounds.default)
    };
    let policy = match kind {
        Kind::Failover => SourcePolicy::Failover {
            takeover_after: period(takeover_after, bounds::SOURCE_TAKEOVER_AFTER),
            failback: period(failback, bounds::FAILBACK),
        },
        Kind::Merge => SourcePolicy::Merge {
            window: period(window, bounds::WINDOW),
            key: key.and_then(|value| read_key(&value)).unwrap_or_default(),
        },
    };
    section.finish();
    (SourceSet { brokers: values_of(&written), policy }, written)
}

/// `key = { user_property = "id" }` or `key = { json = "/id" }`.
fn read_key(value: &Value<'_, '_, '_, '_>) -> Option<TwinKey> {
    let mut section = value.section("key = { user_property = \"id\" }")?;
    let (property, json) = (section.take("user_property"), section.take("json"));
    section.finish();
    match (property, json) {
        (Some(name), None) => Some(TwinKey::UserProperty(name.text()?.value.to_owned())),
        (None, Some(pointer)) => {
            let text = pointer.text()?;
            if !text.value.is_empty() && !text.value.starts_with('/') {
                let what = "`json` is a JSON pointer (RFC 6901), which begins with a slash";
                pointer.error(what, format!("write `json = \"/{}\"`", text.value));
                return None;
            }
            Some(TwinKey::Json(text.value.to_owned()))
        }
        (Some(_), Some(_)) => {
            value.error("a `key` is a user property or a place in JSON, not both", "leave out one of them");
            None
        }
        (None, None) => {
            value.error("this `key` says nothing", "write `user_property` or `json`");
            None
        }
    }
}
