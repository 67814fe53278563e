//! What to subscribe to at a source, and how to come from one set of filters to another without a message twice.
//!
//! With 10,000 routes a filter is never compared with each other one: which of them it meets is asked of a tree.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use tidegate_config::{Config, FilterTree, Pattern};
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{RetainHandling, SubscribeFilter};

/// The largest subscription identifier (MQTT 5.0 section 3.8.2.1.2).
const MAX_ID: u32 = 268_435_455;

/// What to subscribe to at a broker for all its routes: each filter once, with the highest QoS asked for. Of two of which
/// one covers the other only the wider one, with the higher QoS of both: then no broker can send a message once for each.
/// Filters that overlap all the same have identifiers, for a broker may do so.
pub(crate) fn wanted(config: &Config, broker: &str) -> Vec<SubscribeFilter> {
    let routes = config.routes.iter().filter(|route| route.from.broker == broker);
    let mut all: Vec<(TopicFilter, QoS)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (filter, qos) in routes.flat_map(|route| route.from.topics.iter().map(|filter| (filter, route.from.qos))) {
        let place = *places.entry(filter.as_str()).or_insert(all.len());
        match all.get_mut(place) {
            Some((_, known)) => *known = (*known).max(qos),
            None => all.push((filter.clone(), qos)),
        }
    }
    let covering = covering(&all);
    for (at, wider) in covering.iter().enumerate() {
        // No two filters cover each other: among those that cover this one is one that none covers.
        if let Some(widest) = wider.iter().find(|by| covering[**by].is_empty()) {
            all[*widest].1 = all[*widest].1.max(all[at].1);
        }
    }
    let kept = all.into_iter().zip(&covering).filter(|(_, wider)| wider.is_empty()).map(|(one, _)| one);
    numbered(kept.collect())
}

/// Whether the routes of two configurations ask the same of a broker.
pub(crate) fn are_same<'c>(before: &'c Config, after: &'c Config, broker: &str) -> bool {
    let of = |config: &'c Config| config.routes.iter().map(|route| &route.from).filter(|from| from.broker == broker);
    of(before).eq(of(after))
}

/// Of each filter the places of those that cover it, which are all different.
fn covering(filters: &[(TopicFilter, QoS)]) -> Vec<Vec<usize>> {
    // What a group shares goes to each of its members in turn: only a filter of the same group takes its place.
    let mut groups: HashMap<Option<&str>, FilterTree<usize>> = HashMap::new();
    let patterns: Vec<Pattern> = filters.iter().map(|(filter, _)| Pattern::of(filter)).collect();
    for (at, (filter, _)) in filters.iter().enumerate() {
        groups.entry(filter.share()).or_default().insert(&patterns[at], at);
    }
    let wider = |(at, (filter, _)): (usize, &(TopicFilter, QoS))| {
        let mut found = Vec::new();
        let group = groups.get(&filter.share());
        let _ = group.map(|group| {
            group.covering(&patterns[at], |by| {
                if by != at && filters[by].0.covers(filter) {
                    found.push(by);
                }
                ControlFlow::Continue(())
            })
        });
        found.sort_unstable();
        found
    };
    filters.iter().enumerate().map(wider).collect()
}

/// Filters, to ask which of them a filter overlaps.
struct Overlaps<'f> {
    filters: &'f [(TopicFilter, QoS)],
    tree: FilterTree<usize>,
}

impl<'f> Overlaps<'f> {
    fn new(filters: &'f [(TopicFilter, QoS)]) -> Self {
        let mut tree = FilterTree::default();
        filters.iter().enumerate().for_each(|(at, (filter, _))| tree.insert(&Pattern::of(filter), at));
        Self { filters, tree }
    }

    /// Whether `filter` overlaps one of them other than the one at `but`.
    fn any(&self, filter: &TopicFilter, but: Option<usize>) -> bool {
        let found = self.tree.meeting(&Pattern::of(filter), |at| {
            let overlaps = Some(at) != but && self.filters[at].0.overlaps(filter);
            if overlaps { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found.is_break()
    }
}

/// What to be subscribed to on the way from one set of filters to another, if nothing less will do.
///
/// Where a filter goes and one that overlaps it comes, both are there for a moment, for otherwise messages would be lost. Then
/// they have identifiers, so that a message that comes once for each is known (MQTT 5).
pub(crate) fn between(before: &[SubscribeFilter], after: &[SubscribeFilter]) -> Option<Vec<SubscribeFilter>> {
    let known = |list: &[SubscribeFilter]| -> Vec<(TopicFilter, QoS)> {
        list.iter().filter_map(|one| Some((one.filter.as_ref().ok()?.clone(), one.qos))).collect()
    };
    let (before, mut all) = (known(before), known(after));
    let stays: HashSet<&str> = all.iter().map(|(new, _)| new.as_str()).collect();
    let gone = before.into_iter().filter(|(old, _)| !stays.contains(old.as_str())).collect::<Vec<_>>();
    if gone.is_empty() {
        return None;
    }
    let overlaps = Overlaps::new(&all);
    if !gone.iter().any(|(old, _)| overlaps.any(old, None)) {
        return None;
    }
    all.extend(gone);
    Some(numbered(all))
}

/// Gives identifiers to those that overlap.
fn numbered(mut filters: Vec<(TopicFilter, QoS)>) -> Vec<SubscribeFilter> {
    // Of several copies the first one counts: let it be the one with the highest QoS.
    filters.sort_by_key(|(_, qos)| std::cmp::Reverse(*qos));
    let overlaps = Overlaps::new(&filters);
    let mut taken = HashSet::new();
    let mut ids: Vec<Option<u32>> = Vec::with_capacity(filters.len());
    for (at, (filter, _)) in filters.iter().enumerate() {
        let mut id = overlaps.any(filter, Some(at)).then(|| id(filter));
        while id.is_some_and(|id| !taken.insert(id)) {
            id = id.map(|taken| taken % MAX_ID + 1);
        }
        ids.push(id);
    }
    filters
        .into_iter()
        .zip(ids)
        .map(|((filter, qos), subscription_id)| SubscribeFilter {
            // What we publish there ourselves must not come back; a shared subscription cannot say so (MQTT-3.8.3-4).
            no_local: filter.share().is_none(),
            retain_as_published: true,
            retain_handling: RetainHandling::SendIfNew,
            subscription_id,
            ..SubscribeFilter::new(filter, qos)
        })
        .collect()
}

/// An identifier that a filter keeps whatever filters come and go beside it: while they change, two never bear the same.
fn id(filter: &TopicFilter) -> u32 {
    // FNV-1a, 32 bits.
    let hash =
        filter.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % MAX_ID + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What is wanted of a source by routes with these filters and QoS.
    fn of(routes: &[(&[&str], u8)]) -> Vec<SubscribeFilter> {
        let mut text = "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.s]\nurl = \"mqtt://s\"\n".to_owned();
        text += "[brokers.t]\nurl = \"mqtt://t\"\n";
        for (at, (filters, qos)) in routes.iter().enumerate() {
            text += &format!("[[routes]]\nname = \"r{at}\"\nto = [\"t\"]\n");
            text += &format!("from = {{ broker = \"s\", topics = {filters:?}, qos = {qos} }}\n");
        }
        wanted(&tidegate_config::parse(&text, Path::new("/gw.toml")).unwrap().0, "s")
    }

    /// Filter, QoS, and whether it has an identifier; sorted.
    fn shown(list: &[SubscribeFilter]) -> Vec<(String, u8, bool)> {
        let show = |one: &SubscribeFilter| {
            (one.filter.as_ref().unwrap().to_string(), one.qos as u8, one.subscription_id.is_some())
        };
        let mut shown: Vec<_> = list.iter().map(show).collect();
        shown.sort();
        shown
    }

    fn expected(list: &[(&str, u8, bool)]) -> Vec<(String, u8, bool)> {
        list.iter().map(|(filter, qos, id)| (filter.to_string(), *qos, *id)).collect()
    }

    #[test]
    fn only_the_widest_filters_are_subscribed_with_the_highest_qos_of_what_they_cover() {
        let found = |routes| shown(&of(routes));
        assert_eq!(found(&[(&["a/b"], 2), (&["a/#"], 0)]), expected(&[("a/#", 2, false)]));
        assert_eq!(found(&[(&["a/#"], 0), (&["a/b"], 2), (&["a/+"], 1)]), expected(&[("a/#", 2, false)]));
        assert_eq!(found(&[(&["a/b", "a/c"], 1), (&["a/+"], 0), (&["a/#"], 0)]), expected(&[("a/#", 1, false)]));
        assert_eq!(found(&[(&["a/+"], 1), (&["+/b"], 0)]), expected(&[("+/b", 0, true), ("a/+", 1, true)]));
        assert_eq!(found(&[(&["a/+"], 1), (&["+/b"], 0), (&["#"], 0)]), expected(&[("#", 1, false)]));
        let shared = [("$share/g/a/b", 1, true), ("a/#", 1, true)];
        assert_eq!(found(&[(&["$share/g/a/b"], 1), (&["a/#"], 1)]), expected(&shared), "a group shares it with others");
        assert_eq!(found(&[(&["$SYS/#"], 1), (&["#"], 1)]), expected(&[("#", 1, false), ("$SYS/#", 1, false)]));
    }

    /// Each with each other one would be 100 million comparisons, three times: no time is asserted, but that takes a minute.
    #[test]
    fn of_ten_thousand_filters_none_is_compared_with_each_other_one() {
        let filters = |from: usize| -> Vec<(TopicFilter, QoS)> {
            let text = |n: usize| [format!("site/{n}/+/temp"), format!("site/{n}/1/temp"), format!("$share/g/s{n}/#")];
            let new = |text: String| (TopicFilter::new(text).unwrap(), QoS::AtLeastOnce);
            (from..from + 10_000).flat_map(text).map(new).collect()
        };
        let covered = covering(&filters(0)).iter().filter(|wider| !wider.is_empty()).count();
        assert_eq!(covered, 10_000);
        let (before, after) = (numbered(filters(0)), numbered(filters(1)));
        assert_eq!(before.iter().filter(|one| one.subscription_id.is_some()).count(), 20_000);
        assert_eq!(between(&before, &after), None, "what goes overlaps nothing that comes");
    }

    #[test]
    fn while_one_filter_takes_the_place_of_another_that_it_overlaps_both_bear_identifiers() {
        let (narrow, wide) = (of(&[(&["a/+"], 1), (&["x"], 1)]), of(&[(&["a/#"], 0), (&["x"], 1)]));
        let both = expected(&[("a/#", 0, true), ("a/+", 1, true), ("x", 1, false)]);
        assert_eq!(between(&narrow, &wide).as_deref().map(shown), Some(both.clone()));
        let back = between(&wide, &narrow).unwrap();
        assert_eq!(shown(&back), both);
        assert_ne!(back[0].subscription_id, back[1].subscription_id);
        assert_eq!(between(&narrow, &of(&[(&["y"], 1), (&["x"], 1)])), None, "nothing can come twice");
        assert_eq!(between(&narrow, &narrow), None);
        assert_eq!(between(&[], &narrow), None);
    }

    #[test]
    fn an_identifier_stays_with_its_filter_and_is_nobody_elses() {
        let id_of = |list: &[SubscribeFilter], text: &str| {
            list.iter().find(|one| one.filter.as_ref().unwrap().as_str() == text).unwrap().subscription_id
        };
        let (few, more) = (of(&[(&["a/+", "+/b"], 1)]), of(&[(&["+/+/c", "a/+/+", "a/+", "+/b"], 1)]));
        assert!(id_of(&few, "a/+").is_some());
        assert_eq!((id_of(&few, "a/+"), id_of(&few, "+/b")), (id_of(&more, "a/+"), id_of(&more, "+/b")));
        // Many that all overlap: none bears another's.
        let many: Vec<String> = (0..300).flat_map(|n| [format!("n{n}/+"), format!("+/n{n}")]).collect();
        let many: Vec<(TopicFilter, QoS)> =
            many.into_iter().map(|text| (TopicFilter::new(text).unwrap(), QoS::AtMostOnce)).collect();
        let mut ids: Vec<u32> = numbered(many).into_iter().filter_map(|one| one.subscription_id).collect();
        assert!(ids.iter().all(|id| (1..=MAX_ID).contains(id)));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 600);
    }
}
