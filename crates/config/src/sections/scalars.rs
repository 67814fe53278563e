//! Single values that several sections have.

use crate::bounds;
use crate::problem::Span;
use crate::tree::{Context, Value};
use std::time::Duration;
use tidegate_message::QoS;

/// 0, 1 or 2.
pub(crate) fn read_qos(value: &Value<'_, '_, '_, '_>) -> Option<QoS> {
    let number = value.number(bounds::Number { default: 1, min: 0, max: 2 })?;
    QoS::from_u8(number as u8) // at most 2
}

/// The least wait is not longer than the longest.
pub(crate) fn check_order(context: &Context<'_>, at: &Span, min: Duration, max: Duration) {
    if min > max {
        let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
        context.error(at, format!("`min` is {min} and `max` is {max}"), "make `max` at least as long as `min`");
    }
}
