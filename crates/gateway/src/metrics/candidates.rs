//! Of versions that are tried beside plugins.

use super::Family;

macro_rules! per_candidate {
    ($field:ident) => {
        |s, out| {
            for (plugin, candidate) in &s.candidates {
                out.add(&[("plugin", plugin)], candidate.$field as f64);
            }
        }
    };
}

pub(super) const FAMILIES: &[Family] = &[
    (
        "tidegate_candidate_messages_total",
        "counter",
        "Messages that the candidate of the plugin decided.",
        per_candidate!(messages),
    ),
    (
        "tidegate_candidate_failures_total",
        "counter",
        "Of these, those that it failed on, or refused.",
        per_candidate!(failures),
    ),
    (
        "tidegate_candidate_differences_total",
        "counter",
        "Of these, those that a shadow decided otherwise than the plugin that runs.",
        per_candidate!(differ),
    ),
    (
        "tidegate_candidate_missed_total",
        "counter",
        "Messages that a shadow did not see, for it was busy.",
        per_candidate!(missed),
    ),
];
