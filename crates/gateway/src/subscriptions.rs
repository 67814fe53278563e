//! What to subscribe to at a source, and how to come from one set of filters to another without a message twice.
//!
//! With 10,000 routes a filter is never compared with each other one: which of them it meets is asked of a tree.

use crate::stored::{KIND_BITS, identifier};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use tidegate_config::{Config, FilterTree, Pattern, Retained, Source};
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{RetainHandling, SubscribeFilter};

/// The largest number in an identifier, which is at most 268,435,455 (MQTT 5.0 section 3.8.2.1.2).
const MAX_NUMBER: u32 = 268_435_455 >> KIND_BITS;

/// A filter, and how it is asked for.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    filter: TopicFilter,
    qos: QoS,
    retained: Retained,
}

impl Wanted {
    /// Of which two that cover each other are one: what a group shares goes to each of its members in turn, and what is
    /// stored comes for each subscription by itself.
    fn kind(&self) -> (Option<&str>, Retained) {
        (self.filter.share(), self.retained)
    }
}

/// What to subscribe to at a broker for all its routes: each filter once, with the highest QoS asked for. Of two of which
/// one covers the other, and which want the same of what is stored, only the wider one, with the higher QoS of both: then no
/// broker can send a message once for each. Filters that overlap all the same have identifiers, for a broker may do so.
///
/// `is_subscribed`: whether the source of a route that has this broker is to be subscribed to there.
pub(crate) fn wanted(config: &Config, broker: &str, is_subscribed: impl Fn(&Source) -> bool) -> Vec<SubscribeFilter> {
    let routes = config.routes.iter().filter(|route| route.from.has(broker) && is_subscribed(&route.from));
    let mut all: Vec<Wanted> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (filter, from) in routes.flat_map(|route| route.from.topics.iter().map(|filter| (filter, &route.from))) {
        let place = *places.entry(filter.as_str()).or_insert(all.len());
        match all.get_mut(place) {
            Some(known) => known.qos = known.qos.max(from.qos),
            None => all.push(Wanted { filter: filter.clone(), qos: from.qos, retained: from.retained }),
        }
    }
    let covering = covering(&all);
    for (at, wider) in covering.iter().enumerate() {
        // No two filters cover each other: among those that cover this one is one that none covers.
        if let Some(widest) = wider.iter().find(|by| covering[**by].is_empty()) {
            all[*widest].qos = all[*widest].qos.max(all[at].qos);
        }
    }
    let kept = all.into_iter().zip(&covering).filter(|(_, wider)| wider.is_empty()).map(|(one, _)| one);
    numbered(kept.collect())
}

/// Whether the routes of two configurations ask the same of a broker.
pub(crate) fn are_same<'c>(before: &'c Config, after: &'c Config, broker: &str) -> bool {
    let of = |config: &'c Config| config.routes.iter().map(|route| &route.from).filter(|from| from.has(broker));
    of(before).eq(of(after))
}

/// Of each filter the places of those that cover it, which are all different.
fn covering(filters: &[Wanted]) -> Vec<Vec<usize>> {
    let mut groups: HashMap<_, FilterTree<usize>> = HashMap::new();
    let patterns: Vec<Pattern> = filters.iter().map(|wanted| Pattern::of(&wanted.filter)).collect();
    for (at, wanted) in filters.iter().enumerate() {
        groups.entry(wanted.kind()).or_default().insert(&patterns[at], at);
    }
    let wider = |(at, wanted): (usize, &Wanted)| {
        let mut found = Vec::new();
        let group = groups.get(&wanted.kind());
        let _ = group.map(|group| {
            group.covering(&patterns[at], |by| {
                if by != at && filters[by].filter.covers(&wanted.filter) {
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
    filters: &'f [Wanted],
    tree: FilterTree<usize>,
}

impl<'f> Overlaps<'f> {
    fn new(filters: &'f [Wanted]) -> Self {
        let mut tree = FilterTree::default();
        filters.iter().enumerate().for_each(|(at, wanted)| tree.insert(&Pattern::of(&wanted.filter), at));
        Self { filters, tree }
    }

    /// Whether `filter` overlaps one of them other than the one at `but`.
    fn any(&self, filter: &TopicFilter, but: Option<usize>) -> bool {
        let found = self.tree.meeting(&Pattern::of(filter), |at| {
            let overlaps = Some(at) != but && self.filters[at].filter.overlaps(filter);
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
    let known = |list: &[SubscribeFilter]| -> Vec<Wanted> {
        let wanted = |one: &SubscribeFilter| {
            let retained = match one.retain_handling {
                RetainHandling::Send => Retained::Forward,
                RetainHandling::SendIfNew => Retained::New,
                RetainHandling::Never => Retained::Never,
            };
            Some(Wanted { filter: one.filter.as_ref().ok()?.clone(), qos: one.qos, retained })
        };
        list.iter().filter_map(wanted).collect()
    };
    let (before, mut all) = (known(before), known(after));
    let stays: HashSet<&str> = all.iter().map(|new| new.filter.as_str()).collect();
    let gone = before.into_iter().filter(|old| !stays.contains(old.filter.as_str())).collect::<Vec<_>>();
    if gone.is_empty() {
        return None;
    }
    let overlaps = Overlaps::new(&all);
    if !gone.iter().any(|old| overlaps.any(&old.filter, None)) {
        return None;
    }
    all.extend(gone);
    Some(numbered(all))
}

/// Gives identifiers to those that overlap.
fn numbered(mut filters: Vec<Wanted>) -> Vec<SubscribeFilter> {
    // Of several copies the first one counts: let it be the one with the highest QoS.
    filters.sort_by_key(|wanted| std::cmp::Reverse(wanted.qos));
    let overlaps = Overlaps::new(&filters);
    let mut taken = HashSet::new();
    let mut ids: Vec<Option<u32>> = Vec::with_capacity(filters.len());
    for (at, wanted) in filters.iter().enumerate() {
        let mut number = overlaps.any(&wanted.filter, Some(at)).then(|| number(&wanted.filter));
        while number.is_some_and(|number| !taken.insert(number)) {
            number = number.map(|taken| taken % MAX_NUMBER + 1);
        }
        ids.push(number.map(|number| identifier(number, wanted.retained)));
    }
    let asked = |(Wanted { filter, qos, retained }, subscription_id): (Wanted, Option<u32>)| SubscribeFilter {
        // What we publish there ourselves must not come back; a shared subscription cannot say so (MQTT-3.8.3-4).
        no_local: filter.share().is_none(),
        retain_as_published: true,
        retain_handling: match retained {
            Retained::Forward => RetainHandling::Send,
            Retained::New => RetainHandling::SendIfNew,
            Retained::Never => RetainHandling::Never,
        },
        subscription_id,
        ..SubscribeFilter::new(filter, qos)
    };
    filters.into_iter().zip(ids).map(asked).collect()
}

/// A number that a filter keeps whatever filters come and go beside it: while they change, two never bear the same.
fn number(filter: &TopicFilter) -> u32 {
    // FNV-1a, 32 bits.
    let hash =
        filter.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % MAX_NUMBER + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn plain(text: &str, qos: QoS) -> Wanted {
        Wanted { filter: TopicFilter::new(text.to_owned()).unwrap(), qos, retained: Retained::Forward }
    }

    /// What is wanted of a source by routes with these filters and QoS.
    fn of(routes: &[(&[&str], u8)]) -> Vec<SubscribeFilter> {
        let forward: Vec<_> = routes.iter().map(|(filters, qos)| (*filters, *qos, "forward")).collect();
        of_kinds(&forward)
    }

    fn of_kinds(routes: &[(&[&str], u8, &str)]) -> Vec<SubscribeFilter> {
        let mut text = "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.s]\nurl = \"mqtt://s\"\n".to_owned();
        text += "[brokers.t]\nurl = \"mqtt://t\"\n";
        for (at, (filters, qos, retained)) in routes.iter().enumerate() {
            text += &format!("[[routes]]\nname = \"r{at}\"\nto = [\"t\"]\n");
            text +=
                &format!("from = {{ broker = \"s\", topics = {filters:?}, qos = {qos}, retained = \"{retained}\" }}\n");
        }
        wanted(&tidegate_config::parse(&text, Path::new("/gw.toml")).unwrap().0, "s", |_| true)
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
        let filters = |from: usize| -> Vec<Wanted> {
            let text = |n: usize| [format!("site/{n}/+/temp"), format!("site/{n}/1/temp"), format!("$share/g/s{n}/#")];
            let new = |text: String| plain(&text, QoS::AtLeastOnce);
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
        let many: Vec<Wanted> = many.iter().map(|text| plain(text, QoS::AtMostOnce)).collect();
        let mut ids: Vec<u32> = numbered(many).into_iter().filter_map(|one| one.subscription_id).collect();
        assert!(ids.iter().all(|id| (1..=268_435_455).contains(id)));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 600);
    }
    #[test]
    fn filters_whose_routes_want_different_things_of_what_is_stored_are_subscribed_apart() {
        let all = [(&["a/#"][..], 1, "forward"), (&["a/b"], 1, "never"), (&["a/+"], 1, "never"), (&["a/c"], 0, "new")];
        let found = of_kinds(&all);
        let shown: Vec<_> = found
            .iter()
            .map(|one| {
                let kind = one.subscription_id.unwrap() & ((1 << KIND_BITS) - 1);
                (one.filter.as_ref().unwrap().as_str(), one.retain_handling, kind)
            })
            .collect();
        let kind = |kind: Retained| u32::from(kind.bit());
        let expected = [
            ("a/#", RetainHandling::Send, kind(Retained::Forward)),
            ("a/+", RetainHandling::Never, kind(Retained::Never)),
            ("a/c", RetainHandling::SendIfNew, kind(Retained::New)),
        ];
        assert_eq!(shown, expected);
    }
}
