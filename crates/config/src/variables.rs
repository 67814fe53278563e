//! `${NAME}` in strings: what the environment of the process says, put in before anything is read.
//!
//! What a variable holds is never repeated in a problem: there it is shown as it is written.

use crate::problem::Span;
use crate::tree::Context;
use crate::values::shown;
use std::ffi::OsString;
use toml::de::{DeTable, DeValue};

/// Where variables come from.
pub(crate) trait Surroundings {
    fn variable(&self, name: &str) -> Option<OsString>;
}

/// This process.
pub(crate) struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// Nowhere.
pub(crate) struct Nowhere;

impl Surroundings for Nowhere {
    fn variable(&self, _: &str) -> Option<OsString> {
        None
    }
}

/// What is wrong, and what to do.
type Refused = (String, String);

/// A text with its variables put in.
pub(crate) fn expanded(text: &str, around: &dyn Surroundings) -> Result<String, Refused> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, begins) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            // `$${` is `${` and no variable.
            out.push_str(before);
            out.push_str("${");
            rest = &begins[2..];
            continue;
        }
        out.push_str(before);
        let unclosed = || {
            let hint = "close it with `}`, or write `$${` if `${` is meant";
            (format!("the variable in {} is not closed", shown(text)), hint.to_owned())
        };
        let (inner, behind) = begins[2..].split_once('}').ok_or_else(unclosed)?;
        out.push_str(&value(inner, around)?);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands for `NAME` or `NAME:default`.
fn value(inner: &str, around: &dyn Surroundings) -> Result<String, Refused> {
    let (name, default) = match inner.split_once(':') {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
        let hint = "write ${NAME} or ${NAME:default}, or `$${` if `${` is meant";
        return Err((format!("no environment variable can be called {}", shown(name)), hint.to_owned()));
    }
    match (around.variable(name), default) {
        (Some(value), _) => value
            .into_string()
            .map_err(|_| (format!("the environment variable `{name}` is not UTF-8"), "set it to text".to_owned())),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let hint = format!("set it for the gateway's process, or say what to take instead: `${{{name}:...}}`");
            Err((format!("the environment variable `{name}` is not set"), hint))
        }
    }
}

/// Puts in all variables of a file, but those below a plugin's `config`, which are the plugin's unless its `expand` says otherwise.
pub(crate) fn expand(context: &Context<'_>, root: &mut DeTable<'_>, around: &dyn Surroundings) {
    for (key, value) in root.iter_mut() {
        let (is_plugins, at) = (&**key.get_ref() == "plugins", value.span());
        match value.get_mut() {
            DeValue::Table(plugins) if is_plugins => {
                for (_, plugin) in plugins.iter_mut() {
                    let at = plugin.span();
                    match plugin.get_mut() {
                        DeValue::Table(plugin) => in_plugin(context, plugin, around),
                        other => in_value(context, other, &at, around),
                    }
                }
            }
            other => in_value(context, other, &at, around),
        }
    }
}

fn in_plugin(context: &Context<'_>, plugin: &mut DeTable<'_>, around: &dyn Surroundings) {
    let all = plugin.get("expand").is_some_and(|value| matches!(value.get_ref(), DeValue::Boolean(true)));
    for (key, value) in plugin.iter_mut() {
        if all || &**key.get_ref() != "config" {
            let at = value.span();
            in_value(context, value.get_mut(), &at, around);
        }
    }
}

fn in_value(context: &Context<'_>, value: &mut DeValue<'_>, at: &Span, around: &dyn Surroundings) {
    match value {
        DeValue::String(text) if text.contains("${") => match expanded(text, around) {
            Ok(new) => {
                context.findings.expanded(at, &new, text);
                *text = new.into();
            }
            Err((what, hint)) => context.error(at, what, hint),
        },
        DeValue::Array(list) => {
            for element in list.iter_mut() {
                let at = element.span();
                in_value(context, element.get_mut(), &at, around);
            }
        }
        DeValue::Table(table) => {
            for (_, value) in table.iter_mut() {
                let at = value.span();
                in_value(context, value.get_mut(), &at, around);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Some1;

    impl Surroundings for Some1 {
        fn variable(&self, name: &str) -> Option<OsString> {
            (name == "HOST").then(|| "box".into()).or_else(|| (name == "EMPTY").then(OsString::new))
        }
    }

    #[test]
    fn variables_are_put_in_and_what_is_none_stays() {
        let of = |text: &str| expanded(text, &Some1).unwrap();
        assert_eq!(of("mqtt://${HOST}:${PORT:1883}"), "mqtt://box:1883");
        assert_eq!(of("${EMPTY}${EMPTY:x}${NONE:}"), "", "what is set to nothing is set");
        assert_eq!(of("$SYS/# {room} $HOST $"), "$SYS/# {room} $HOST $");
        assert_eq!(of("$${HOST} $$${HOST}"), "${HOST} $${HOST}");
        assert_eq!(of("${NONE:mqtt://a:1}"), "mqtt://a:1", "the first colon ends the name");
    }

    #[test]
    fn what_cannot_be_put_in_is_told() {
        let of = |text: &str| expanded(text, &Some1).unwrap_err().0;
        assert_eq!(of("a${NONE}"), "the environment variable `NONE` is not set");
        assert_eq!(of("${HOST"), "the variable in `${HOST` is not closed");
        assert_eq!(of("${}"), "no environment variable can be called ``");
        assert_eq!(of("${1A} ${HO-ST}"), "no environment variable can be called `1A`");
    }
}
