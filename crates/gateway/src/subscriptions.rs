//! What to subscribe to at a source, and how to come from one set of filters to another without a message twice.

use tidegate_config::Config;
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{RetainHandling, SubscribeFilter};

/// The largest subscription identifier (MQTT 5.0 section 3.8.2.1.2).
const MAX_ID: u32 = 268_435_455;

/// What to subscribe to at a broker for all its routes: each filter once, with the highest QoS asked for. Of two of which
/// one covers the other only the wider one, with the higher QoS of both: then no broker can send a message once for each.
/// Filters that overlap all the same have identifiers, for a broker may do so.
pub(crate) fn wanted(config: &Config, broker: &str) -> Vec<SubscribeFilter> {
    let mut kept: Vec<(TopicFilter, QoS)> = Vec::new();
    for route in config.routes.iter().filter(|route| route.from.broker == broker) {
        for filter in &route.from.topics {
            let covers = |by: &TopicFilter, other: &TopicFilter| by.share() == other.share() && by.covers(other);
            // What is covered goes, and what covered it may itself be covered by what is there.
            let mut qos = route.from.qos;
            if let Some((_, known)) = kept.iter_mut().find(|(known, _)| covers(known, filter)) {
                *known = (*known).max(qos);
                continue;
            }
            kept.retain(|(known, of_known)| {
                let goes = covers(filter, known);
                if goes {
                    qos = qos.max(*of_known);
                }
                !goes
            });
            kept.push((filter.clone(), qos));
        }
    }
    numbered(kept)
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
    let gone = before.into_iter().filter(|(old, _)| !all.iter().any(|(new, _)| new == old)).collect::<Vec<_>>();
    let meets = |(old, _): &(TopicFilter, QoS)| all.iter().any(|(new, _)| new.overlaps(old));
    if !gone.iter().any(meets) {
        return None;
    }
    all.extend(gone);
    Some(numbered(all))
}

/// Gives identifiers to those that overlap.
fn numbered(mut filters: Vec<(TopicFilter, QoS)>) -> Vec<SubscribeFilter> {
    // Of several copies the first one counts: let it be the one with the highest QoS.
    filters.sort_by_key(|(_, qos)| std::cmp::Reverse(*qos));
    let mut ids: Vec<Option<u32>> = Vec::with_capacity(filters.len());
    for (at, (filter, _)) in filters.iter().enumerate() {
        let overlaps = filters.iter().enumerate().any(|(other, (by, _))| other != at && by.overlaps(filter));
        let mut id = overlaps.then(|| id(filter));
        while id.is_some() && ids.contains(&id) {
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
