//! Reads `[plugins.<name>]`.

use super::candidate::read_candidate;
use super::lists::{filters, names, values_of};
use super::probation::read_probation;
use crate::bounds;
use crate::model::{Grants, Limits, Plugin, StateGrant};
use crate::tree::{At, FileKind, Section, Value};
use crate::values;
use toml::de::DeValue;

/// Makes a section into a plugin; the targets it is granted as they are written beside it.
pub(super) fn read_plugin(mut section: Section<'_, '_, '_, '_>, name: &str) -> (Plugin, Vec<At<String>>) {
    let context = section.context;
    let place = |key: &str| format!("plugins.{name}{key}");
    context.place(place(""), &section.at);
    let path = section.require("path", "\"plugins/name.wasm\"").and_then(|value| value.path());
    // Done already, in `variables`.
    let _ = section.flag("expand", false);
    let config = section.take("config").and_then(|value| value.json(&place(".config")));
    let digest = read_digest(&mut section);
    let grants = section.section("grants", "grants = { targets = [\"upstream\"] }");
    let (grants, targets) = grants
        .map(|grants| {
            context.place(place(".grants"), &grants.at);
            read_grants(grants)
        })
        .unwrap_or_default();
    let limits = section.section("limits", "limits = { deadline = \"50ms\" }");
    let limits = limits
        .map(|limits| {
            context.place(place(".limits"), &limits.at);
            read_limits(limits)
        })
        .unwrap_or_default();
    let probation = read_probation(&mut section);
    let candidate = section
        .section("candidate", "candidate = { path = \"plugins/next.wasm\" }")
        .and_then(|section| read_candidate(section, &place(".candidate")))
        .map(Box::new);
    section.finish();
    if let Some(path) = &path {
        context.place(place(".path"), &path.at);
        context.uses_file(FileKind::Plugin { path: path.value.clone(), digest: digest.clone() }, &path.at);
    }
    let path = path.map(|path| path.value).unwrap_or_default();
    let config = config.unwrap_or_else(|| serde_json::Value::Object(serde_json::Map::new()));
    (Plugin { path, config, grants, limits, digest, probation, candidate }, targets)
}

/// The SHA-256 of a component.
pub(super) fn read_digest(section: &mut Section<'_, '_, '_, '_>) -> Option<String> {
    let context = section.context;
    let text = section.text("digest")?;
    let digest = text.value.strip_prefix("sha256:").unwrap_or(text.value);
    if digest.len() == bounds::DIGEST_DIGITS && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(digest.to_ascii_lowercase());
    }
    let hint = "write the 64 hexadecimal digits that `sha256sum` prints";
    context.error(&text.at, "`digest` is not a SHA-256 digest", hint);
    None
}

fn read_grants(mut section: Section<'_, '_, '_, '_>) -> (Grants, Vec<At<String>>) {
    let context = section.context;
    let targets = names(context, "targets", section.texts("targets").unwrap_or_default());
    let topics = filters(context, section.texts("topics").unwrap_or_default());
    for filter in topics.iter().filter(|filter| filter.value.share().is_some()) {
        let what = format!("a grant cannot be a shared subscription, as {} is", values::shown(filter.value.as_str()));
        context.error(&filter.at, what, format!("write \"{}\"", filter.value.pattern()));
    }
    let state = section.take("state").map(|value| read_state(&value)).unwrap_or_default();
    section.finish();
    (Grants { targets: values_of(&targets), topics: values_of(&topics), state }, targets)
}

/// `true`, `false` or `"shared"`.
fn read_state(value: &Value<'_, '_, '_, '_>) -> StateGrant {
    match value.any() {
        DeValue::Boolean(true) => StateGrant::Granted,
        DeValue::String(word) if word == "shared" => StateGrant::Shared,
        DeValue::Boolean(false) => StateGrant::Refused,
        _ => {
            value.error("`state` is neither true nor false nor \"shared\"", "write one of these, the word in quotes");
            StateGrant::Refused
        }
    }
}

fn read_limits(mut section: Section<'_, '_, '_, '_>) -> Limits {
    // The bounds keep each number within its type.
    let limits = Limits {
        memory_bytes: section.size("memory", bounds::MEMORY) as usize,
        table_elements: section.number("table_elements", bounds::TABLE_ELEMENTS) as usize,
        deadline: section.duration("deadline", bounds::DEADLINE),
        configure_deadline: section.duration("configure_deadline", bounds::CONFIGURE_DEADLINE),
        outputs: section.number("outputs", bounds::OUTPUTS) as u32,
        output_bytes: section.size("output_size", bounds::OUTPUT_SIZE) as usize,
        log_lines_per_second: section.number("log_lines_per_second", bounds::LOG_LINES) as u32,
        state_bytes: section.size("state_size", bounds::STATE_SIZE) as usize,
    };
    section.finish();
    limits
}
