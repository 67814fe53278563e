//! Reads `will`, `birth` and `farewell`.

use super::scalars::read_qos;
use super::text;
use crate::bounds;
use crate::model::{Announcement, Will};
use crate::tree::{At, Context, Section};
use crate::values::{self, why_and_hint};
use std::time::Duration;
use tidegate_message::{QoS, Topic};

/// What the link says of itself, that its announcements depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    /// Characters that brokers may hang up on are taken.
    pub(crate) allow_control: bool,
    /// MQTT 5 may be spoken.
    pub(crate) may_be_v5: bool,
    /// How long the broker keeps the session.
    pub(crate) session_expiry: Duration,
}

/// What a broker publishes for us once we are gone.
pub(crate) fn read_will(mut section: Section<'_, '_, '_, '_>, about: About) -> Option<Will> {
    let context = section.context;
    let written = section.take("delay");
    let delay = written.as_ref().and_then(|value| value.duration(bounds::WILL_DELAY)).unwrap_or_default();
    if let Some(value) = &written
        && !delay.is_zero()
    {
        if !about.may_be_v5 {
            let hint = "leave it out, or set `version = \"5\"` if the broker speaks that";
            context.warning(&value.at, "`delay` says how long a will waits, which only MQTT 5 can", hint);
        } else if delay > about.session_expiry {
            let session = humantime::format_duration(about.session_expiry);
            let what =
                format!("the session ends after {session}, and the will comes with its end, however long `delay` is");
            context.warning(&value.at, what, "make `session_expiry` longer, or `delay` shorter");
        }
    }
    let message = read_announcement(section, "will", about)?;
    Some(Will { message, delay })
}

/// A message that says how the gateway is doing.
pub(crate) fn read_announcement(
    mut section: Section<'_, '_, '_, '_>,
    called: &str,
    about: About,
) -> Option<Announcement> {
    let context = section.context;
    let topic = section.require("topic", "\"gateways/cottage\"").and_then(|value| value.text());
    let payload = section.text("payload").map(|text| text.value.as_bytes().to_vec()).unwrap_or_default();
    let qos = section.take("qos").and_then(|value| read_qos(&value)).unwrap_or(QoS::AtMostOnce);
    let retain = section.flag("retain", false);
    let at = section.at.clone();
    section.finish();
    if payload.len() > bounds::MAX_TEXT_BYTES {
        let hint = format!("shorten it to {} bytes", bounds::MAX_TEXT_BYTES);
        context.error(&at, format!("the payload of this {called} is too long"), hint);
    }
    let topic = read_topic(context, "topic", &topic?, about.allow_control)?;
    Some(Announcement { topic, payload, qos, retain })
}

/// A topic that the gateway itself publishes on.
pub(super) fn read_topic(context: &Context<'_>, key: &str, written: &At<&str>, allow_control: bool) -> Option<Topic> {
    let topic = Topic::new(written.value.to_owned()).map_err(|error| {
        let (why, hint) = why_and_hint(&error, "write levels separated by `/`, such as \"gateways/cottage\"");
        context.error(&written.at, format!("{} is not a topic: {why}", values::shown(written.value)), hint);
    });
    if !allow_control {
        text::check_portable(context, key, written);
    }
    topic.ok()
}
