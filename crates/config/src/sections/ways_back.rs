//! How the answer to a request comes back: what `response_topic` of a remap has to know of other routes.

use crate::bounds::MAX_WAYS_BACK;
use crate::model::{Config, Route, WayBack};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gives each remap that renames response topics the ways back from its targets.
pub(super) fn fill(config: &mut Config) {
    let wanted = |route: &Route| route.remap.as_ref().is_some_and(|remap| remap.response_topic);
    // By source and targets.
    let mut known = BTreeMap::new();
    for at in 0..config.routes.len() {
        let route = &config.routes[at];
        if !wanted(route) {
            continue;
        }
        let key = (route.from.brokers.clone(), route.to.clone());
        let ways: Arc<[WayBack]> = known.entry(key).or_insert_with(|| ways(config, route)).clone();
        if let Some(remap) = &mut config.routes[at].remap {
            remap.ways_back = ways;
        }
    }
}

/// All ways from the targets of a route back to its source, in the order of the targets and of the file; those that rename
/// alike are one.
fn ways(config: &Config, request: &Route) -> Arc<[WayBack]> {
    let targets: Vec<&str> = request.to.iter().flat_map(|target| config.brokers_of(target)).collect();
    let comes_from = |at: usize, route: &Route| {
        route.from.has(targets[at]) && !targets[..at].iter().any(|before| route.from.has(before))
    };
    let routes = (0..targets.len()).flat_map(|at| config.routes.iter().filter(move |route| comes_from(at, route)));
    let mut ways: Vec<WayBack> = Vec::new();
    for route in routes {
        // What a plugin calls it nobody knows.
        if !config.leads_to_source(route, &request.from) || config.may_rewrite(route) {
            continue;
        }
        let there = match route.remap.as_ref().map(|remap| &remap.renaming) {
            Some(renaming) if !renaming.is_nothing() => match renaming.inverse() {
                Some(inverse) => Some(inverse),
                None => continue,
            },
            _ => None,
        };
        match ways.iter().position(|way| way.there == there) {
            Some(at) => ways[at].takes.extend(route.from.topics.iter().cloned()),
            None if ways.len() == MAX_WAYS_BACK => break,
            None => ways.push(WayBack { there, takes: route.from.topics.clone() }),
        }
    }
    ways.into()
}
