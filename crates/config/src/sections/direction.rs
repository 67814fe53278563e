//! `direction = "both"`: one route as it is written, and another one that brings back what has the names which it gives.

use super::route::WrittenRoute;
use crate::bounds::MAX_NAME_BYTES;
use crate::model::{Broker, Remap, Route, Source, Workers};
use crate::topics::Pattern;
use crate::tree::{At, Context};
use crate::values::shown;
use std::collections::BTreeMap;
use tidegate_message::TopicFilter;

/// What the name of the way back ends with.
const BACK: &str = "-back";

/// The way back of a route that says `direction = "both"`; reports why there can be none.
///
/// It is a route like any other from here on: what is checked of routes, counted of them and said of them is so of both.
pub(super) fn back(
    context: &Context<'_>,
    route: &Route,
    written: &WrittenRoute,
    brokers: &BTreeMap<String, Broker>,
) -> Option<(Route, WrittenRoute)> {
    let both = written.both.as_ref()?;
    let error = |what: String, hint: &str| {
        context.error(both, what, hint);
        None
    };
    if !route.plugins.is_empty() {
        let what = "`direction = \"both\"` is for routes without plugins: what they do to a message has no inverse";
        return error(what.to_owned(), "write two routes, each with the plugins that it needs");
    }
    let ([source], None) = (&route.from.brokers[..], &route.from.set) else {
        // Without one the name is missing, which is reported elsewhere.
        route.from.set.as_ref()?;
        let what = format!(
            "`direction = \"both\"` needs one broker that it goes back to, and {} is a source of several",
            shown(route.from.name())
        );
        return error(
            what,
            "write a route for each way: the way back goes to a target set of these brokers, or to one of them",
        );
    };
    let ([target], [to]) = (&route.to[..], &written.to[..]) else {
        let what = format!("`direction = \"both\"` needs one target that it comes back from, not {}", route.to.len());
        return error(what, "name one broker in `to`, or write a route for each way");
    };
    if target == source {
        let what = format!("{} is the source and the target of a route in both directions", shown(target));
        return error(what, "name another broker in `to`");
    }
    // Names that mean nothing are reported elsewhere.
    if !brokers.contains_key(source) {
        return None;
    }
    if !brokers.contains_key(target) {
        let what = format!("`direction = \"both\"` needs a broker as its target, and {} is none", shown(target));
        return error(what, "name one broker in `to`, or write a route for each way");
    }
    let name = format!("{}{BACK}", route.name);
    if route.name.is_empty() || name.len() > MAX_NAME_BYTES {
        let most = MAX_NAME_BYTES - BACK.len();
        let what = format!("the way back would be called {}, which is too long", shown(&name));
        return if route.name.is_empty() { None } else { error(what, &format!("give it at most {most} characters")) };
    }
    let remap = match &route.remap {
        None => None,
        Some(remap) => {
            let Some(renaming) = remap.renaming.inverse() else {
                let what =
                    "`direction = \"both\"` needs a `remap` that can be taken back, and `to` leaves out a capture";
                return error(what.to_owned(), "use every capture of `from` in `to`, or write a route for each way");
            };
            Some(Remap::from(renaming).with_response_topic(remap.response_topic))
        }
    };
    let topics = written.topics.iter().map(|filter| image(context, route, filter)).collect::<Option<Vec<_>>>()?;
    let from = Source {
        brokers: vec![target.clone()],
        set: None,
        topics: topics.iter().map(|filter| filter.value.clone()).collect(),
        qos: route.from.qos,
        retained: route.from.retained,
    };
    let back = Route {
        name,
        from,
        to: vec![source.clone()],
        required: None,
        remap,
        plugins: Vec::new(),
        tick: None,
        workers: Workers::default(),
        ..route.clone()
    };
    let written = WrittenRoute {
        at: written.at.clone(),
        source: to.at.clone(),
        topics,
        plugins: Vec::new(),
        to: vec![At { value: source.clone(), at: written.source.clone() }],
        required: Vec::new(),
        remap: written.remap.clone(),
        both: None,
        share: None,
    };
    Some((back, written))
}

/// The filter at the target that lets in what the route makes of the topics of this one.
fn image(context: &Context<'_>, route: &Route, filter: &At<TopicFilter>) -> Option<At<TopicFilter>> {
    if filter.value.share().is_some() {
        let what = format!("`{}` is shared, so what comes back would go round for ever", filter.value);
        context.error(&filter.at, what, "share nothing, or leave out `direction`: no-local is not for what is shared");
        return None;
    }
    // What does not fit is reported where remaps are looked at.
    let made = Pattern::of(&filter.value).sent_by(route)?;
    let Some(Ok(value)) = made.as_filter() else {
        let what = format!("there is no filter for what `remap` makes of `{}`, to bring it back by", filter.value);
        let hint = "end `strip` and `prefix` with a slash, or write `from` and `to`";
        context.error(&filter.at, what, hint);
        return None;
    };
    Some(At { value, at: filter.at.clone() })
}
