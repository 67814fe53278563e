//! Remaps that do not take the topics which come, or make topics that cannot be.

use crate::model::{Config, Remap, Route};
use crate::sections::WrittenRoute;
use crate::topics::Pattern;
use crate::tree::{At, Context};

/// Every topic that a filter lets in must be one that the remap takes and makes a topic of.
pub(super) fn check(context: &Context<'_>, config: &Config, route: &Route, written: &WrittenRoute) {
    let Some(remap) = &route.remap else { return };
    if route.to.is_empty() {
        let what = "`remap` is for what goes to `to`, and this route has none";
        context.warning(&written.remap, what, "leave it out: plugins choose the topics they send to");
        return;
    }
    // A plugin in front of the remap may have changed the topics: then they are its author's to get right.
    if route.plugins.iter().any(|name| config.may_rewrite(name)) {
        never_fits(context, config, route, remap, written);
        return;
    }
    for At { value: filter, at } in &written.topics {
        match Pattern::of(filter).remapped(remap) {
            None => context.error(
                at,
                format!("topics of `{filter}` need not begin with `{}`, which `remap` strips", remap.strip),
                "narrow the filter, or strip less",
            ),
            Some(pattern) => {
                if let Some(Err(error)) = pattern.as_topic() {
                    let what = format!("`remap` makes a topic that cannot be of `{filter}`: {error}");
                    context.error(&written.remap, what, "strip less, or set `prefix`");
                }
            }
        }
    }
    let glues = !remap.prefix.is_empty() && !remap.prefix.ends_with('/');
    if glues && (remap.strip.is_empty() || remap.strip.ends_with('/')) {
        let what = format!("`prefix` runs into the level behind it, as in `{}x`", remap.prefix);
        context.warning(&written.remap, what, format!("write \"{}/\" if that is not meant", remap.prefix));
    }
}

/// Even a plugin that may choose topics has only some to choose from: those that come and those that it is granted.
fn never_fits(context: &Context<'_>, config: &Config, route: &Route, remap: &Remap, written: &WrittenRoute) {
    let plugins = || route.plugins.iter().filter_map(|name| config.plugins.get(name));
    if remap.strip.is_empty() || plugins().count() < route.plugins.len() {
        return; // what an unknown plugin is granted nobody knows
    }
    let fitting = Pattern::beginning_with(&remap.strip);
    let granted = plugins().flat_map(|plugin| &plugin.grants.topics);
    if !route.from.topics.iter().chain(granted).any(|filter| Pattern::of(filter).meet(&fitting).is_some()) {
        let what = format!(
            "no topic of this route can begin with `{}`, which `remap` strips: all would be dropped",
            remap.strip
        );
        context.warning(&written.remap, what, "strip what its topics begin with, or leave `strip` out");
    }
}
