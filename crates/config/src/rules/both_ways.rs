//! Pairs of routes that carry the same topics both ways between two brokers: what one renames, the other should name as before.

use crate::model::{Config, Renaming, Route};
use crate::sections::Draft;
use crate::topics::{FilterTree, Pattern};
use crate::tree::Context;
use crate::values::shown;
use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tidegate_message::Topic;

/// The most pairs of filters compared in all.
const MAX_STEPS: usize = 1_000_000;

/// A topic of a source, its name at the target, and as what it comes back.
struct Trip {
    went: Topic,
    there: Topic,
    back: Topic,
}

/// Warns of pairs of which the second does not take back what the first does.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    let config = &draft.config;
    let goes = |route| targets(config, route);
    // What a plugin calls a topic nobody knows.
    let is_plain = |route: &&(usize, &Route)| !config.may_rewrite(route.1);
    let routes: Vec<(usize, &Route)> = config.routes.iter().enumerate().collect();
    let mut ways: BTreeMap<(&str, &str), FilterTree<(usize, usize)>> = BTreeMap::new();
    for (at, route) in routes.iter().filter(is_plain) {
        for (from, to) in route.from.brokers.iter().flat_map(|from| goes(route).into_iter().map(move |to| (from, to))) {
            let tree = ways.entry((from, to)).or_default();
            route.from.topics.iter().enumerate().for_each(|(n, filter)| tree.insert(&Pattern::of(filter), (*at, n)));
        }
    }
    let (mut told, mut steps) = (BTreeSet::new(), MAX_STEPS);
    for (at, route) in routes.iter().filter(is_plain) {
        let there = goes(route).into_iter().flat_map(|to| route.from.brokers.iter().map(move |from| (to, from)));
        for ((target, source), filter) in there.flat_map(|way| route.from.topics.iter().map(move |f| (way, f))) {
            let Some(back) = ways.get(&(target, source.as_str())) else { continue };
            let topics = Pattern::of(filter);
            let Some(there) = topics.sent_by(route) else { continue };
            let mut found = Vec::new();
            let _ = back.meeting(&there, |other| {
                found.push(other);
                steps = steps.saturating_sub(1);
                if steps == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            for (other, n) in found.into_iter().filter(|(other, _)| other != at) {
                let (back, takes) = (&config.routes[other], Pattern::of(&config.routes[other].from.topics[n]));
                // One that takes more than this one brings is no way back, but a way of its own.
                if !there.covers(&takes) {
                    continue;
                }
                let pair = (*at.min(&other), *at.max(&other));
                if let Some(trip) = trip(route, &topics, back, &takes)
                    && told.insert(pair)
                {
                    warn(context, draft, (*at, route), (other, back), &trip);
                }
            }
        }
    }
}

/// The brokers that it leads to, other than its source.
fn targets<'c>(config: &'c Config, route: &'c Route) -> BTreeSet<&'c str> {
    let brokers = route.to.iter().flat_map(|target| config.brokers_of(target));
    brokers.filter(|broker| !route.from.has(broker)).collect()
}

fn apply(route: &Route, topic: &Topic) -> Option<Topic> {
    match &route.remap {
        Some(remap) => remap.apply(topic).ok(),
        None => Some(topic.clone()),
    }
}

/// One that ends elsewhere than it began.
fn trip(route: &Route, topics: &Pattern, back: &Route, takes: &Pattern) -> Option<Trip> {
    let inverse = route.remap.as_ref().map(|remap| remap.renaming.inverse());
    let taken = match &inverse {
        // All that comes back has come from somewhere.
        Some(Some(inverse)) => takes.samples().iter().filter_map(|there| before(inverse, there)).collect(),
        None => takes.samples(),
        Some(None) => topics.samples(),
    };
    taken.into_iter().find_map(|went| {
        let there = apply(route, &went)?;
        let is_taken = back.from.topics.iter().any(|filter| filter.matches(&there));
        let back = apply(back, &there)?;
        (is_taken && back != went).then_some(Trip { went, there, back })
    })
}

fn before(inverse: &Renaming, there: &Topic) -> Option<Topic> {
    inverse.apply_in(there, &mut BytesMut::new()).ok()
}

fn warn(context: &Context<'_>, draft: &Draft, there: (usize, &Route), back: (usize, &Route), trip: &Trip) {
    let Trip { went, there: name, back: came } = trip;
    let ((_, route), (other, back)) = (there, back);
    let (source, target) = (shown(route.from.name()), shown(back.from.name()));
    let what = format!(
        "route {} does not take back what {} does: `{went}` of broker {source} is `{name}` at {target}, and comes back as `{came}`",
        shown(&back.name),
        shown(&route.name),
    );
    let hint = match route.remap.as_ref().map(|remap| remap.renaming.inverse()) {
        None => "leave out its `remap` if it is to".to_owned(),
        Some(Some(Renaming::Front { strip, prefix })) => {
            format!("write `remap = {{ strip = \"{strip}\", prefix = \"{prefix}\" }}` there if it is to")
        }
        Some(Some(Renaming::Levels(rewrite))) => {
            let (from, to) = (rewrite.from().as_str(), rewrite.to().as_str());
            format!("write `remap = {{ from = \"{from}\", to = \"{to}\" }}` there if it is to")
        }
        Some(None) => format!("use every capture of `from` in the `to` of {} if it is to", shown(&route.name)),
    };
    context.warning(&draft.written.routes[other].remap, what, hint);
}
