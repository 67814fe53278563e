//! Filters of one source that overlap: on MQTT 3.x nothing tells copies of a message from the same message sent twice.
//!
//! A broker may send a message once for each subscription that it matches (MQTT 3.1.1 section 3.3.5). Of two filters of which
//! one covers the other only the wider is subscribed; for the others there are identifiers in MQTT 5, and nothing in 3.x.

use crate::model::{LinkBroker, Retained, Version};
use crate::sections::Draft;
use crate::topics::{FilterTree, Pattern};
use crate::tree::{At, Context};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use tidegate_message::TopicFilter;

/// How many filters that overlap one other are looked at, to name the first of them: with thousands that overlap
/// thousands, naming any is enough.
const MAX_OVERLAPS: usize = 64;

/// Warns of messages that may come twice.
pub(crate) fn check(context: &Context<'_>, draft: &Draft) {
    let mut sources: BTreeMap<&str, Vec<Wanted<'_>>> = BTreeMap::new();
    for (route, written) in draft.routes() {
        let retained = route.from.retained;
        for broker in &route.from.brokers {
            let wanted = written.topics.iter().map(|filter| Wanted { filter, retained });
            sources.entry(broker).or_default().extend(wanted);
        }
    }
    for (name, filters) in sources {
        if let Some(link) = draft.config.brokers[name].link().filter(|link| link.version != Version::V5) {
            check_source(context, link, &filters);
        }
    }
}

/// A filter, and what its route wants of what is stored.
struct Wanted<'d> {
    filter: &'d At<TopicFilter>,
    retained: Retained,
}

impl Wanted<'_> {
    fn value(&self) -> &TopicFilter {
        &self.filter.value
    }

    /// Whether one of two that cover each other is enough.
    fn is_alike(&self, other: &Self) -> bool {
        self.value().share() == other.value().share() && self.retained == other.retained
    }
}

fn check_source(context: &Context<'_>, link: &LinkBroker, filters: &[Wanted<'_>]) {
    let patterns: Vec<Pattern> = filters.iter().map(|wanted| Pattern::of(wanted.value())).collect();
    // The same filter in many routes is one subscription.
    let mut known = HashSet::with_capacity(filters.len());
    let firsts: Vec<bool> = filters.iter().map(|wanted| known.insert(wanted.value())).collect();
    let mut all = FilterTree::default();
    for at in (0..filters.len()).filter(|at| firsts[*at]) {
        all.insert(&patterns[at], at);
    }
    // What another covers is not subscribed.
    let is_covered = |at: usize| {
        let (wanted, filter) = (&filters[at], filters[at].value());
        let is_wider = |other: &Wanted<'_>| {
            let by = other.value();
            by != filter && other.is_alike(wanted) && by.covers(filter) && !filter.covers(by)
        };
        let found = all.covering(&patterns[at], |by| match is_wider(&filters[by]) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        found.is_break()
    };
    let mut earlier = FilterTree::default();
    for at in (0..filters.len()).filter(|at| !is_covered(*at)) {
        // One warning a filter, with the first that it gets into the way of.
        let mut found = Vec::new();
        let _ = earlier.meeting(&patterns[at], |other: usize| {
            if may_double(&filters[other], &filters[at]) {
                found.push(other);
            }
            if found.len() < MAX_OVERLAPS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if let Some(first) = found.into_iter().min() {
            warn(context, link, filters[first].value(), filters[at].filter);
        }
        if firsts[at] {
            earlier.insert(&patterns[at], at);
        }
    }
}

/// Whether a message may come once for each of them, and both have to be subscribed.
fn may_double(one: &Wanted<'_>, other: &Wanted<'_>) -> bool {
    let (a, b) = (one.value(), other.value());
    let one_is_enough = one.is_alike(other) && (a.covers(b) || b.covers(a));
    // The same filter twice is one subscription.
    a != b && a.overlaps(b) && !one_is_enough
}

fn warn(context: &Context<'_>, link: &LinkBroker, earlier: &TopicFilter, later: &At<TopicFilter>) {
    let when = match link.version {
        Version::Auto => "a broker of MQTT 3.1.1 may send a message",
        _ => "the broker may send a message",
    };
    let what = format!("{when} that both `{earlier}` and `{}` match twice, which looks like two", later.value);
    let hint = match (&later.value.share(), &link.version) {
        (Some(_), _) => "share all of what overlaps, or narrow one of them",
        (None, Version::Auto) => "narrow one of them, subscribe to what covers both, or set `version = \"5\"`",
        (None, _) => "narrow one of them, or subscribe to what covers both",
    };
    context.warning(&later.at, what, hint);
}
