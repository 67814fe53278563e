//! What is named nowhere.

use crate::sections::Draft;
use crate::tree::Context;
use std::collections::BTreeSet;

/// Warns of it.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    let Draft { config, written } = draft;
    let mut used = BTreeSet::new();
    let mut plugins = BTreeSet::new();
    for route in &config.routes {
        used.insert(route.from.name());
        used.extend(route.to.iter().map(String::as_str));
        plugins.extend(route.plugins.iter().map(String::as_str));
    }
    for plugin in config.plugins.values() {
        used.extend(plugin.grants.targets.iter().map(String::as_str));
    }
    for (name, set) in written.targets.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        let what = format!("no route and no grant names the target set `{name}`");
        context.warning(&set.at, what, "leave it out, or name it in the `to` of a route");
    }
    for (name, set) in written.sources.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        let what = format!("no route names the source `{name}`");
        context.warning(&set.at, what, "leave it out, or write it as the `source` of a route");
    }
    used.extend(config.sources.values().flat_map(|set| &set.brokers).map(String::as_str));
    used.extend(config.targets.values().flat_map(|set| &set.members).map(String::as_str));
    for (name, broker) in &config.brokers {
        // The box's own broker serves its clients, routes or not.
        if broker.embedded().is_none() && !used.contains(name.as_str()) {
            let what = format!("no route, source, target set and grant names the broker `{name}`");
            context.warning(&written.brokers[name], what, "leave it out, or name it in a route");
        }
    }
    for (name, plugin) in written.plugins.iter().filter(|(name, _)| !plugins.contains(name.as_str())) {
        let what = format!("no route uses the plugin `{name}`");
        context.warning(&plugin.at, what, "leave it out, or name it in the `plugins` of a route");
    }
    if config.routes.is_empty() {
        let what = "there are no routes, so no message goes anywhere";
        context.warning(&(0..0), what, "add a section `[[routes]]`");
    }
}
