//! Reads `probation` of a plugin.

use crate::bounds;
use crate::model::Probation;
use crate::tree::{Section, Value};
use toml::de::DeValue;

/// How it may be written.
const EXAMPLE: &str = "probation = { for = \"2m\", failures = \"1%\" }";

/// How a version that was saved is watched at first, if it is.
pub(super) fn read_probation(plugin: &mut Section<'_, '_, '_, '_>) -> Option<Probation> {
    let Some(value) = plugin.take("probation") else { return Some(Probation::default()) };
    let mut section = match value.any() {
        DeValue::Boolean(true) => return Some(Probation::default()),
        DeValue::Boolean(false) => return None,
        DeValue::Table(_) => value.section(EXAMPLE)?,
        _ => {
            value.error("`probation` is neither true nor false nor a table", format!("write `{EXAMPLE}`, or `false`"));
            return None;
        }
    };
    let lasts = section.duration("for", bounds::PROBATION);
    let messages = section.number("messages", bounds::PROBATION_MESSAGES);
    let failures = section.take("failures").and_then(|value| read_share(&value));
    let slower = section.number("slower", bounds::PROBATION_SLOWER) as u32; // at most 1,000
    let rejects = section.flag("rejects", true);
    let replay_parked = section.flag("replay_parked", true);
    section.finish();
    let failures_per_million = failures.unwrap_or(bounds::PROBATION_FAILURES);
    Some(Probation { lasts, messages, failures_per_million, slower, rejects, replay_parked })
}

/// `"1%"`, `"0.05%"`: how many in a million that are.
pub(super) fn read_share(value: &Value<'_, '_, '_, '_>) -> Option<u32> {
    let written = value.text()?;
    let number = written.value.strip_suffix('%').map(str::trim_end).filter(|number| {
        number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && number.starts_with(|c: char| c.is_ascii_digit())
    });
    let percent = number.and_then(|number| number.parse::<f64>().ok()).filter(|percent| *percent <= 100.0);
    if percent.is_none() {
        value.error(
            format!("{} is no share", crate::values::shown(written.value)),
            "write a number from 0 to 100 with a `%`, such as \"1%\"",
        );
    }
    percent.map(|percent| (percent * 10_000.0).round() as u32)
}
