//! The rule of one alarm and what it makes of readings and of time. Pure: no state, no clock, no message.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use tidegate_sdk::decimal::Decimal;

/// When an alarm is raised and when it is cleared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) when: When,
    /// For so long every reading must be beyond the threshold before it is raised; for `Silent`, no reading at all.
    pub(crate) after_ms: u64,
    /// For so long every reading must be back before it is cleared.
    pub(crate) clear_after_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// Above the threshold; back at `clear` or below.
    Above { threshold: Decimal, clear: Decimal },
    /// Below the threshold; back at `clear` or above.
    Below { threshold: Decimal, clear: Decimal },
    /// No reading comes.
    Silent,
}

/// How an alarm of one key stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) raised: bool,
    /// When what raised or cleared it began, in milliseconds since the Unix epoch.
    #[serde(rename = "since")]
    pub(crate) since_ms: u64,
    /// Since when readings say the contrary, if the last one did; for `Silent` that is not raised, when the last one came.
    #[serde(rename = "pending", default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending_ms: Option<u64>,
    /// The last reading that bore out what is or may be raised or cleared.
    #[serde(with = "decimal_text", default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Decimal>,
}

impl Status {
    /// Whether the two differ in what must not be forgotten.
    pub(crate) fn is_other_than(&self, other: &Self) -> bool {
        let Self { raised, since_ms, pending_ms, value: _ } = *self;
        (raised, since_ms, pending_ms) != (other.raised, other.since_ms, other.pending_ms)
    }
}

impl Rule {
    /// Takes in a reading: the events it makes are how the alarm stands after each.
    ///
    /// The first is what was true for long enough before this reading, though no timer has said so.
    pub(crate) fn read(&self, status: &mut Status, reading: Decimal, now_ms: u64, mut event: impl FnMut(Status)) {
        let value = (!self.is_silence()).then_some(reading);
        if self.says_the_contrary(status.raised, reading) {
            status.value = value;
        }
        if self.advance(status, now_ms) {
            event(*status);
        }
        if self.says_the_contrary(status.raised, reading) {
            status.pending_ms.get_or_insert(now_ms);
            status.value = value;
        } else {
            status.pending_ms = None;
        }
        if self.advance(status, now_ms) {
            event(*status);
        }
        if self.is_silence() {
            status.pending_ms = Some(now_ms);
        }
    }

    /// Raises or clears the alarm if it is time; true if so.
    pub(crate) fn advance(&self, status: &mut Status, now_ms: u64) -> bool {
        let Some(pending_ms) = status.pending_ms else {
            return false;
        };
        // A clock set back starts a delay anew.
        let since_ms = pending_ms.min(now_ms);
        status.pending_ms = Some(since_ms);
        let delay_ms = if status.raised { self.clear_after_ms } else { self.after_ms };
        if now_ms - since_ms < delay_ms {
            return false;
        }
        *status = Status { raised: !status.raised, since_ms, pending_ms: None, value: status.value };
        true
    }

    /// Whether a reading is beyond the threshold of an alarm that is not raised, or back from one that is.
    fn says_the_contrary(&self, raised: bool, value: Decimal) -> bool {
        match (self.when, raised) {
            (When::Above { threshold, .. }, false) => compare(value, threshold).is_gt(),
            (When::Above { clear, .. }, true) => compare(value, clear).is_le(),
            (When::Below { threshold, .. }, false) => compare(value, threshold).is_lt(),
            (When::Below { clear, .. }, true) => compare(value, clear).is_ge(),
            (When::Silent, raised) => raised,
        }
    }

    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.when, When::Silent)
    }
}

/// Numbers that take too many digits to compare are so far apart that an `f64` tells as much.
fn compare(a: Decimal, b: Decimal) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.to_f64().total_cmp(&b.to_f64()))
}

/// A number as a text, for JSON's numbers have fewer digits in some readers.
mod decimal_text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use tidegate_sdk::decimal::Decimal;

    pub(super) fn serialize<S: Serializer>(number: &Option<Decimal>, to: S) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => to.collect_str(number),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Decimal>, D::Error> {
        let text = String::deserialize(from)?;
        Decimal::parse(&text).map(Some).ok_or_else(|| de::Error::custom("not a number"))
    }
}
