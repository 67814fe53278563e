//! Reads `spool` of a broker or a target set.

use crate::bounds;
use crate::model::{SpoolSettings, WhenFull};
use crate::tree::{Section, Value};

/// What a broker or target set says of its spool, or what holds if it says nothing.
pub(crate) fn read_spool(value: Option<&Value<'_, '_, '_, '_>>) -> SpoolSettings {
    value.and_then(|value| value.section("spool = { max_bytes = \"1GiB\" }")).map(read_settings).unwrap_or_default()
}

fn read_settings(mut section: Section<'_, '_, '_, '_>) -> SpoolSettings {
    let mark_late = section.take("mark_late");
    // The bounds keep each number within its type.
    let settings = SpoolSettings {
        max_bytes: section.size("max_bytes", bounds::SPOOL_BYTES),
        max_messages: section.take("max_messages").and_then(|value| value.number(bounds::SPOOL_MESSAGES)),
        max_age: section.take("max_age").and_then(|value| value.duration(bounds::SPOOL_AGE)),
        when_full: section.choice(
            "when_full",
            &[("block", WhenFull::Block), ("drop-oldest", WhenFull::DropOldest), ("drop-newest", WhenFull::DropNewest)],
        ),
        drain_rate: section
            .take("drain_rate")
            .and_then(|value| value.number(bounds::DRAIN_RATE))
            .map(|rate| rate as u32),
        mark_late: mark_late.as_ref().and_then(|value| value.duration(bounds::MARK_LATE)),
    };
    if let (Some(value), Some(late), Some(age)) = (mark_late, settings.mark_late, settings.max_age)
        && late >= age
    {
        let (late, age) = (humantime::format_duration(late), humantime::format_duration(age));
        let what = format!("nothing waits for {late}, because `max_age` is {age}");
        value.context.warning(&value.at, what, "make `mark_late` shorter than `max_age`, or leave it out");
    }
    section.finish();
    settings
}
