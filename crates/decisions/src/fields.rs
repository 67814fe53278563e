//! Two payloads of JSON, field by field.

use serde_json::Value;
use std::str::FromStr;

/// So many fields of one payload are told.
const FIELDS_MAX: usize = 32;

/// A field of a payload of JSON, such as `$.ts` or `$.list[*].at`: names with dots between, `[3]` an element of an array, `[*]` all
/// of them; a name with other characters in `["..."]`. All below it belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    At(usize),
    All,
}

/// Text that is no path of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path of a field: write `$.name`, `$.list[0].name`, `$.list[*]` or `$[\"any name\"]`")]
pub struct FieldPathError(String);

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || FieldPathError(text.to_owned());
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("[\"") {
                let (name, after) = after.split_once("\"]").ok_or_else(wrong)?;
                steps.push(Step::Name(name.to_owned()));
                rest = after;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (at, after) = after.split_once(']').ok_or_else(wrong)?;
                steps.push(if at == "*" { Step::All } else { Step::At(at.parse().map_err(|_| wrong())?) });
                rest = after;
            } else {
                let after = rest.strip_prefix('.').ok_or_else(wrong)?;
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 {
                    return Err(wrong());
                }
                steps.push(Step::Name(after[..end].to_owned()));
                rest = &after[end..];
            }
        }
        if steps.is_empty() { Err(wrong()) } else { Ok(Self(steps)) }
    }
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|step| match step {
            Step::Name(name) if is_plain(name) => write!(f, ".{name}"),
            Step::Name(name) => write!(f, "[\"{name}\"]"),
            Step::At(at) => write!(f, "[{at}]"),
            Step::All => f.write_str("[*]"),
        })
    }
}

/// A name that needs no quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

impl FieldPath {
    /// Whether a place is this field, or below it.
    fn covers(&self, place: &[Place<'_>]) -> bool {
        let fits = |(step, place): (&Step, &Place<'_>)| match (step, place) {
            (Step::Name(name), Place::Name(known)) => name == known,
            (Step::At(at), Place::At(known)) => at == known,
            (Step::All, Place::At(_)) => true,
            _ => false,
        };
        self.0.len() <= place.len() && self.0.iter().zip(place).all(fits)
    }
}

#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Name(&'a str),
    At(usize),
}

/// For people; of arrays all elements are one, so that differences of one kind are one group.
fn told(place: &[Place<'_>]) -> String {
    place.iter().fold("$".to_owned(), |told, step| match step {
        Place::At(_) => told + "[*]",
        Place::Name(name) if is_plain(name) => told + "." + name,
        Place::Name(name) => format!("{told}[\"{}\"]", name.escape_debug()),
    })
}

/// The fields in which two payloads differ, as words; `None` if one of them is not JSON. Neither the order of keys nor blanks are a
/// difference.
pub(crate) fn differing(one: &[u8], other: &[u8], ignored: &[FieldPath]) -> Option<Vec<String>> {
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let (one, other) = (read(one)?, read(other)?);
    let mut found = Vec::new();
    walk(&one, &other, ignored, &mut Vec::new(), &mut found);
    found.sort();
    found.dedup();
    found.truncate(FIELDS_MAX);
    Some(found)
}

fn walk<'a>(one: &'a Value, other: &'a Value, ignored: &[FieldPath], at: &mut Vec<Place<'a>>, found: &mut Vec<String>) {
    if one == other || ignored.iter().any(|path| path.covers(at)) {
        return;
    }
    let alone = |step: Place<'a>, words: &str, at: &mut Vec<Place<'a>>, found: &mut Vec<String>| {
        at.push(step);
        if !ignored.iter().any(|path| path.covers(at)) {
            found.push(format!("{} {words}", told(at)));
        }
        at.pop();
    };
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for (name, value) in one {
                match other.get(name) {
                    Some(now) => {
                        at.push(Place::Name(name));
                        walk(value, now, ignored, at, found);
                        at.pop();
                    }
                    None => alone(Place::Name(name), "is gone", at, found),
                }
            }
            for name in other.keys().filter(|name| !one.contains_key(*name)) {
                alone(Place::Name(name), "is new", at, found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for (index, (value, now)) in one.iter().zip(other).enumerate() {
                at.push(Place::At(index));
                walk(value, now, ignored, at, found);
                at.pop();
            }
            let (least, most) = (one.len().min(other.len()), one.len().max(other.len()));
            let words = if one.len() < other.len() { "is new" } else { "is gone" };
            (least..most).for_each(|index| alone(Place::At(index), words, at, found));
        }
        _ => found.push(told(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(one: &str, other: &str, ignored: &[&str]) -> Vec<String> {
        let ignored: Vec<FieldPath> = ignored.iter().map(|path| path.parse().unwrap()).collect();
        differing(one.as_bytes(), other.as_bytes(), &ignored).unwrap()
    }

    #[test]
    fn fields_that_differ_are_named() {
        let one = r#"{"t": 1, "list": [{"x": 1}, {"x": 2}], "old": 0, "a b": 1}"#;
        let other = r#"{"list": [{"x": 1}, {"x": 3}, 4], "t": 2, "new": 0, "a b": 2}"#;
        let all = ["$.list[*] is new", "$.list[*].x", "$.new is new", "$.old is gone", "$.t", "$[\"a b\"]"];
        assert_eq!(differ(one, other, &[]), all);
        assert_eq!(differ(one, other, &["$.list", "$.new", "$.old"]), ["$.t", "$[\"a b\"]"]);
        assert_eq!(
            differ(one, other, &["$.list[*].x", "$.list[2]", "$[\"a b\"]"]),
            ["$.new is new", "$.old is gone", "$.t"]
        );
        assert_eq!(differ(r#"{"a":1,"b":2}"#, r#" { "b" : 2, "a" : 1 } "#, &[]), [""; 0]);
        assert_eq!(differ("1", "2", &[]), ["$"]);
        assert_eq!(differing(b"{", b"{}", &[]), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "$", "ts", "$.", "$..a", "$[", "$[x]", "$[\"a", "$a"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
    }
}
