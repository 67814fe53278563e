//! Reads `[targets.<name>]`.

use super::lists::{names, values_of};
use super::spool::read_spool;
use crate::bounds;
use crate::model::{Policy, Relief, SpoolSettings, TargetSet};
use crate::tree::{At, Section, Value};
use crate::values;
use std::collections::BTreeMap;
use toml::de::DeValue;

/// Makes a section into a target set; its members as they are written beside it.
pub(super) fn read_target_set(mut section: Section<'_, '_, '_, '_>) -> (TargetSet, Vec<At<String>>) {
    let words = [("failover", Policy::Failover), ("balance", Policy::Balance), ("all", Policy::All)];
    let policy = section.choice("policy", &words);
    let members = section.require("members", "[\"office\", \"backup\"]").and_then(|value| value.texts());
    if let Some(list) = &members
        && list.is_empty()
    {
        section.context.error(&section.at, "a target set without members goes nowhere", "name brokers in `members`");
    }
    let written = names(section.context, "members", members.unwrap_or_default());
    let members = values_of(&written);
    let mut of_balance = |key: &'static str| {
        let value = section.take(key)?;
        if policy == Policy::Balance {
            return Some(value);
        }
        let what = format!("`{key}` is for sets of policy \"balance\"");
        value.error(what, "write `policy = \"balance\"`, or leave it out");
        None
    };
    let weights = of_balance("weights").map(|value| read_weights(&value, &members));
    let level = of_balance("level").and_then(|value| value.number(bounds::LEVEL));
    let relief = of_balance("relief").and_then(|value| read_relief(&value));
    let require = section.take("require").and_then(|value| read_require(&value, policy, members.len()));
    let failback = section.duration("failback", bounds::FAILBACK);
    let takeover_after = section.duration("takeover_after", bounds::TAKEOVER_AFTER);
    let spool_at = section.take("spool");
    let mut spool = read_spool(spool_at.as_ref());
    if policy == Policy::All
        && let Some(value) = spool_at
    {
        let what = "nothing waits for a set of policy \"all\": each of its members has its own spool";
        let example = members.first().map_or("office", String::as_str);
        value.error(what, format!("write `spool` at the members, as in `[brokers.{example}.spool]`"));
        spool = SpoolSettings::default();
    }
    section.finish();
    let weights = weights.unwrap_or_default();
    let level = level.map(|level| level as usize); // the bounds keep it within
    (TargetSet { policy, members, failback, takeover_after, weights, level, relief, require, spool }, written)
}

/// `"all"`, `"any"`, or how many of the members.
fn read_require(value: &Value<'_, '_, '_, '_>, policy: Policy, members: usize) -> Option<usize> {
    if policy != Policy::All {
        value.error("`require` is for sets of policy \"all\"", "write `policy = \"all\"`, or leave it out");
        return None;
    }
    match value.any() {
        DeValue::String(text) if text == "all" => None,
        DeValue::String(text) if text == "any" => Some(1),
        DeValue::Integer(_) => {
            let max = members.max(1) as u64;
            value.number(bounds::Number { default: max, min: 1, max }).map(|number| number as usize) // at most `members`
        }
        _ => {
            let what = "`require` says how many members must have a message";
            value.error(what, format!("write \"all\", \"any\", or a number from 1 to {members}"));
            None
        }
    }
}

/// `weights = { office = 2 }`: of members alone.
fn read_weights(value: &Value<'_, '_, '_, '_>, members: &[String]) -> BTreeMap<String, u32> {
    let mut weights = BTreeMap::new();
    for (name, weight) in value.table("weights = { office = 2 }").into_iter().flatten() {
        let (name, at) = (name.get_ref().to_string(), name.span());
        let weight = value.entry(weight.span(), weight.get_ref());
        if !members.contains(&name) {
            let what = format!("`weights` names {}, which is no member", values::shown(&name));
            value.context.error(&at, what, "name members of this set only");
        } else if let Some(weight) = weight.number(bounds::WEIGHT) {
            weights.insert(name, weight as u32); // the bounds keep it within
        }
    }
    weights
}

fn read_relief(value: &Value<'_, '_, '_, '_>) -> Option<Relief> {
    let mut section = value.section("relief = { queue = 1000, latency = \"1s\" }")?;
    let queue = section.take("queue").and_then(|queue| queue.number(bounds::RELIEF_QUEUE));
    let latency = section.take("latency").and_then(|latency| latency.duration(bounds::RELIEF_LATENCY));
    let is_empty = !section.has("queue") && !section.has("latency");
    section.finish();
    if is_empty {
        value.error("this `relief` says nothing", "write `queue`, `latency` or both");
        return None;
    }
    Some(Relief { queue: queue.map(|queue| queue as usize), latency })
}
