//! What a route says that cannot work, or hardly is meant.

use crate::model::{Config, Route};
use crate::sections::WrittenRoute;
use crate::tree::{At, Context};
use crate::values::shown;
use std::collections::BTreeMap;

/// Reports it.
pub(super) fn check(context: &Context<'_>, config: &Config, route: &Route, written: &WrittenRoute) {
    reaches_something(context, config, route, written);
    required(context, route, written);
    if route.tick.is_some() && route.plugins.is_empty() {
        context.warning(&written.at, "`tick` calls plugins, and this route has none", "leave it out");
    }
}

/// A message that goes nowhere is a mistake, and one that a target gets twice probably is.
fn reaches_something(context: &Context<'_>, config: &Config, route: &Route, written: &WrittenRoute) {
    let unknown = |name: &String| !config.plugins.contains_key(name);
    let sends = |name: &String| config.plugins.get(name).is_some_and(|plugin| !plugin.grants.targets.is_empty());
    if route.to.is_empty() && !route.plugins.iter().any(|name| sends(name) || unknown(name)) {
        let what = format!("route {} leads nowhere", shown(&route.name));
        let hint = "add `to = [\"...\"]`, or a plugin whose `grants` name targets";
        context.error(&written.at, what, hint);
    }
    let mut reached = BTreeMap::new();
    for At { value: target, at } in &written.to {
        for broker in config.brokers_of(target) {
            if let Some(other) = reached.insert(broker, target) {
                let what = format!("`{broker}` gets messages through `{other}` and through `{target}`");
                context.warning(at, what, "leave one out if each message is to arrive once");
            }
        }
    }
}

fn required(context: &Context<'_>, route: &Route, written: &WrittenRoute) {
    for At { value: name, at } in &written.required {
        if route.to.contains(name) {
            continue;
        }
        let what = format!("`required` names {}, which is not in `to`", shown(name));
        context.error(at, what, "add it to `to`, or leave it out here");
    }
}
