//! What a client may publish and subscribe to. The one place to ask access lists, once there are any.

use tidegate_message::text::has_too_many_levels;
use tidegate_message::{Topic, TopicFilter};
use tidegate_mqtt::ReasonCode;

/// Whether clients may publish here. Topics under `$SYS` speak of the broker and are its own; other `$` topics, such
/// as `$aws/...`, mean something to whoever is at the other end of the gateway.
pub(crate) fn publish(topic: &Topic) -> Result<(), ReasonCode> {
    if !topic.is_reserved() {
        return Ok(());
    }
    match topic.as_str().split('/').next() {
        Some("$SYS") => Err(ReasonCode::NOT_AUTHORIZED),
        Some("$share") => Err(ReasonCode::TOPIC_NAME_INVALID),
        _ => Ok(()),
    }
}

/// Whether clients may subscribe to this. Too many levels are refused: they become a tree that is walked and freed
/// recursively.
pub(crate) fn subscribe(filter: &TopicFilter) -> Result<(), ReasonCode> {
    if has_too_many_levels(filter.pattern()) { Err(ReasonCode::TOPIC_FILTER_INVALID) } else { Ok(()) }
}
