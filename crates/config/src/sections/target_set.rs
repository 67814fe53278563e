//! Reads `[targets.<name>]`.

use super::lists::{names, values_of};
use super::spool::read_spool;
use crate::bounds;
use crate::model::{Policy, SpoolSettings, TargetSet};
use crate::tree::{At, Section};

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
    let failback = section.duration("failback", bounds::FAILBACK);
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
    (TargetSet { policy, members, failback, spool }, written)
}
