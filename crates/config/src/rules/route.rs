//! What a route says that cannot work, or hardly is meant.

use crate::model::{Config, Route, StateGrant};
use crate::sections::WrittenRoute;
use crate::tree::{At, Context};
use crate::values::shown;
use std::collections::BTreeMap;

/// Reports it.
pub(super) fn check(context: &Context<'_>, config: &Config, route: &Route, written: &WrittenRoute) {
    reaches_something(context, config, route, written);
    required(context, route, written);
    let mut sources = route.from.brokers.iter().filter_map(|broker| config.brokers.get(broker));
    let has_stream = sources.any(|broker| broker.nats().is_some());
    for At { value: filter, at } in written.topics.iter().filter(|filter| filter.value.share().is_some()) {
        if has_stream {
            let what = format!(
                "{} shares a subscription of MQTT, which a NATS JetStream does not have",
                shown(filter.as_str())
            );
            let hint =
                "leave out `$share/<group>/`: gateways whose brokers have the same `client_id` share its messages";
            context.error(at, what, hint);
        }
    }
    for broker in &route.from.brokers {
        let probe = config.brokers.get(broker).and_then(|broker| broker.link()?.probe.as_ref());
        let Some(topic) = probe.map(|probe| probe.topic.as_str()) else { continue };
        for At { at, .. } in written.topics.iter().filter(|filter| filter.value.as_str() == topic) {
            let what = format!("{} is the probe of broker `{broker}`, which enters no route", shown(topic));
            context.error(at, what, "leave it out, or give the probe another topic");
        }
    }
    if route.tick.is_some() && route.plugins.is_empty() {
        context.warning(&written.at, "`tick` calls plugins, and this route has none", "leave it out");
    }
    if route.workers.count > 1 {
        workers(context, config, route, written);
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

/// Several instances of one plugin are alike only if nothing but the message makes the decision.
fn workers(context: &Context<'_>, config: &Config, route: &Route, written: &WrittenRoute) {
    if route.plugins.is_empty() {
        context.warning(&written.at, "`workers` are of plugins, and this route has none", "leave it out");
    }
    if route.tick.is_some() {
        let what = "`tick` would call the plugins of each worker, and say everything so many times";
        context.error(&written.at, what, "leave out `tick` or `workers`");
    }
    for At { value: name, at } in &written.plugins {
        let state = config.plugins.get(name).map(|plugin| plugin.grants.state);
        if state == Some(StateGrant::Granted) {
            let what = format!("{} holds state, which the workers of this route would share", shown(name));
            let hint = "leave out `workers`, or grant `state = \"shared\"` if each key belongs to one topic";
            context.error(at, what, hint);
        }
    }
}
