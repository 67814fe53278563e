//! What plugins decide, in the words of `explain`, of taps and of traces.

use tidegate_plugin::Outcome;

/// It goes onward as it came.
pub(crate) const PASSED: &str = "onward, unchanged";

/// How many messages were made of it.
pub(crate) fn outputs(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} output{plural}")
}

pub(crate) fn dropped(reason: &str) -> String {
    format!("dropped, \"{reason}\"")
}

/// What keeps a message from being decided, and why.
pub(crate) fn not_decided(outcome: &Outcome) -> Option<(&'static str, String)> {
    match outcome {
        Outcome::Reject(reason) => Some(("rejected", reason.clone())),
        Outcome::Retry(reason) => Some(("wants to be asked again", reason.clone())),
        Outcome::Fault(fault) => Some(("failed", fault.to_string())),
        Outcome::Pass | Outcome::Forward(_) | Outcome::Drop(_) => None,
    }
}

pub(crate) fn failed(how: &str, why: &str) -> String {
    format!("{how}, \"{why}\"")
}

/// What became of one message.
pub(crate) fn of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => PASSED.to_owned(),
        Outcome::Forward(made) => outputs(made.len()),
        Outcome::Drop(reason) => dropped(reason),
        other => not_decided(other).map_or_else(String::new, |(how, why)| failed(how, &why)),
    }
}
