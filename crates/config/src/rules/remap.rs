//! Remaps that do not take the topics which come, or make topics that cannot be.

use crate::model::{Config, Renaming, Rewrite, Route};
use crate::sections::WrittenRoute;
use crate::topics::Pattern;
use crate::tree::{At, Context};
use crate::values::shown;
use tidegate_message::TopicFilter;

/// Every topic that a filter lets in must be one that the remap takes and makes a topic of.
pub(super) fn check(context: &Context<'_>, config: &Config, route: &Route, written: &WrittenRoute) {
    let Some(remap) = &route.remap else { return };
    if route.to.is_empty() {
        let what = "`remap` is for what goes to `to`, and this route has none";
        context.warning(&written.remap, what, "leave it out: plugins choose the topics they send to");
        return;
    }
    if remap.response_topic && remap.ways_back.is_empty() && !comes_back(config, route) {
        let what =
            format!("no route leads back to {}, so no answer to a request arrives there", shown(route.from.name()));
        context.warning(&written.remap, what, "add one, or `direction = \"both\"`, or leave out `response_topic`");
    }
    // A plugin in front of the remap may have changed the topics: then they are its author's to get right.
    if config.may_rewrite(route) {
        never_fits(context, config, route, &remap.renaming, written);
        return;
    }
    for filter in &written.topics {
        match &remap.renaming {
            Renaming::Front { strip, .. } => {
                if Pattern::of(&filter.value).renamed(&remap.renaming).is_none() {
                    context.error(
                        &filter.at,
                        format!("topics of `{}` need not begin with `{strip}`, which `remap` strips", filter.value),
                        "narrow the filter, or strip less",
                    );
                }
            }
            Renaming::Levels(rewrite) => levels(context, rewrite, filter),
        }
        if let Some(Some(Err(error))) = Pattern::of(&filter.value).renamed(&remap.renaming).map(|made| made.as_topic())
        {
            let what = format!("`remap` makes a topic that cannot be of `{}`: {error}", filter.value);
            let hint = match remap.renaming {
                Renaming::Front { .. } => "strip less, or set `prefix`",
                Renaming::Levels(_) => "write more levels in `to`",
            };
            context.error(&written.remap, what, hint);
        }
    }
    if let Renaming::Front { strip, prefix } = &remap.renaming
        && !prefix.is_empty()
        && !prefix.ends_with('/')
        && (strip.is_empty() || strip.ends_with('/'))
    {
        let what = format!("`prefix` runs into the level behind it, as in `{prefix}x`");
        context.warning(&written.remap, what, format!("write \"{prefix}/\" if that is not meant"));
    }
}

/// Whether some route leads from one of its targets to its source.
fn comes_back(config: &Config, route: &Route) -> bool {
    let targets: Vec<&str> = route.to.iter().flat_map(|target| config.brokers_of(target)).collect();
    let mut back = config.routes.iter().filter(|other| targets.iter().any(|target| other.from.has(target)));
    back.any(|back| config.leads_to_source(back, &route.from))
}

/// What fits `from` is renamed, and what does not is dropped.
fn levels(context: &Context<'_>, rewrite: &Rewrite, filter: &At<TopicFilter>) {
    let (topics, from) = (Pattern::of(&filter.value), rewrite.from());
    let Some(fitting) = topics.fitting(from) else {
        let what = format!("no topic of `{}` has the form `{}`, which `remap` is for", filter.value, from.as_str());
        context.error(&filter.at, what, "write a filter and a `from` of which topics can fit both");
        return;
    };
    if fitting == topics {
        return;
    }
    let narrower = fitting.as_filter().and_then(Result::ok);
    let narrower = narrower.map_or_else(|| from.filter(), |filter| filter.to_string());
    let narrower = match filter.value.share() {
        Some(group) => format!("$share/{group}/{narrower}"),
        None => narrower,
    };
    let dropped = topics.samples().into_iter().find(|topic| {
        let exactly = TopicFilter::new(topic.to_string()).map(|topic| Pattern::of(&topic));
        exactly.is_ok_and(|topic| topic.fitting(from).is_none())
    });
    let such_as = dropped.map(|topic| format!(", such as `{topic}`")).unwrap_or_default();
    let what = format!(
        "topics of `{}` need not have the form `{}`, and those that have not are dropped{such_as}",
        filter.value,
        from.as_str()
    );
    context.warning(&filter.at, what, format!("narrow the filter to `{narrower}` if that is meant"));
}

/// Even a plugin that may choose topics has only some to choose from: those that come and those that it is granted.
fn never_fits(context: &Context<'_>, config: &Config, route: &Route, renaming: &Renaming, written: &WrittenRoute) {
    let plugins = || route.plugins.iter().filter_map(|name| config.plugins.get(name));
    if plugins().count() < route.plugins.len() {
        return; // what an unknown plugin is granted nobody knows
    }
    let granted = plugins().flat_map(|plugin| &plugin.grants.topics);
    let mut topics = route.from.topics.iter().chain(granted).map(Pattern::of);
    let (what, hint) = match renaming {
        Renaming::Front { strip, .. } => {
            let fitting = Pattern::beginning_with(strip);
            if strip.is_empty() || topics.any(|topics| topics.meet(&fitting).is_some()) {
                return;
            }
            let what =
                format!("no topic of this route can begin with `{strip}`, which `remap` strips: all would be dropped");
            (what, "strip what its topics begin with, or leave `strip` out")
        }
        Renaming::Levels(rewrite) => {
            let from = rewrite.from();
            if topics.any(|topics| topics.fitting(from).is_some()) {
                return;
            }
            let form = from.as_str();
            let what = format!(
                "no topic of this route can have the form `{form}`, which `remap` is for: all would be dropped"
            );
            (what, "write a `from` that its topics fit")
        }
    };
    context.warning(&written.remap, what, hint);
}
