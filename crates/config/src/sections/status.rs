//! Reads `status` of a broker.

use super::announcement::read_topic;
use crate::bounds;
use crate::model::{Gateway, Status};
use crate::tree::{Section, Value};
use tidegate_message::Topic;
use toml::de::DeValue;

/// How it may be written.
const EXAMPLE: &str = "status = { counters = \"1m\" }";

/// The prefix that Home Assistant has unless it is told otherwise.
const HOME_ASSISTANT: &str = "homeassistant";

/// What a broker is told of the gateway's own state, if anything.
pub(super) fn read_status(section: &mut Section<'_, '_, '_, '_>, gateway: &Gateway) -> Option<Status> {
    let value = section.take("status")?;
    for key in ["will", "birth", "farewell"] {
        if section.has(key) {
            let what =
                format!("`status` makes the will, birth and farewell of this broker, and there is a `{key}` too");
            value.error(what, format!("leave out `{key}`, or leave out `status` and write all of them yourself"));
        }
    }
    let default = || Topic::new(Status::default_topic(&gateway.name)).ok();
    let mut inner = match value.any() {
        DeValue::Boolean(true) => {
            return Some(Status { topic: default()?, counters: None, home_assistant: None });
        }
        DeValue::Boolean(false) => return None,
        DeValue::Table(_) => value.section(EXAMPLE)?,
        _ => {
            value.error("`status` is neither `true` nor a table", format!("write `status = true`, or `{EXAMPLE}`"));
            return None;
        }
    };
    let context = inner.context;
    let allow = gateway.allow_control_characters;
    let written = inner.text("topic");
    let topic = match &written {
        Some(text) => read_topic(context, "topic", text, allow),
        None => default(),
    };
    let counters = inner.take("counters").and_then(|value| value.duration(bounds::COUNTERS));
    let home_assistant = inner.take("home_assistant").and_then(|value| read_prefix(&value, allow));
    inner.finish();
    let status = Status { topic: topic?, counters, home_assistant };
    if status.counters.is_some() && status.counters_topic() == status.topic.as_str() {
        let at = written.map_or(value.at.clone(), |text| text.at);
        let what = format!("the counters are published on {}, where the state is", status.topic);
        context.error(&at, what, "give `topic` another last level than `counters`");
    }
    Some(status)
}

/// `true`, `false`, or a prefix.
fn read_prefix(value: &Value<'_, '_, '_, '_>, allow_control: bool) -> Option<Topic> {
    match value.any() {
        DeValue::Boolean(true) => Topic::new(HOME_ASSISTANT).ok(),
        DeValue::Boolean(false) => None,
        _ => read_topic(value.context, "home_assistant", &value.text()?, allow_control),
    }
}
