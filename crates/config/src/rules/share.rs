//! What cannot be shared with other gateways, and what a shared route costs those beside it.

use crate::model::Route;
use crate::sections::{Draft, WrittenRoute};
use crate::tree::Context;
use crate::values::shown;
use std::collections::BTreeMap;

/// A group gives each message of a broker to one of its gateways, and its twin to any other.
fn merged(context: &Context<'_>, draft: &Draft, route: &Route, written: &WrittenRoute) {
    let set = route.from.set.as_ref().and_then(|name| draft.config.sources.get(name));
    let shared = written.topics.iter().find(|filter| filter.value.share().is_some());
    if let Some(filter) = shared.filter(|_| set.is_some_and(|set| set.merge().is_some())) {
        let at = written.share.as_ref().unwrap_or(&filter.at);
        let what = "what is shared goes to one gateway of each broker's, so twins may come to two, and both go on";
        context.error(at, what, "share nothing here, or take from one broker");
    }
}

/// Reports it.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    let mut sharing: BTreeMap<&str, &str> = BTreeMap::new();
    for (route, written) in draft.routes() {
        merged(context, draft, route, written);
        let Some(at) = &written.share else { continue };
        for name in &route.from.brokers {
            let Some(broker) = draft.config.brokers.get(name) else { continue };
            let Some(link) = broker.link() else {
                let what = format!("{} is this gateway's own broker, and gives it everything", shown(name));
                let hint = "leave out `share` here; another gateway shares by a `url` of this broker";
                context.error(at, what, hint);
                continue;
            };
            sharing.insert(name, &route.name);
            if !link.session_expiry.is_zero() {
                let what = format!(
                    "broker {} keeps our session for {}, and with it our turn in the share: what it brings would wait for us \
                 while other gateways are there",
                    shown(name),
                    humantime::format_duration(link.session_expiry)
                );
                context.error(at, what, "leave out its `session_expiry`, or write `session_expiry = \"0s\"`");
            }
        }
    }
    for (route, written) in draft.routes().filter(|(_, written)| written.share.is_none()) {
        // A filter that is written with its share is shared all the same.
        let is_plain = written.topics.iter().any(|filter| filter.value.share().is_none());
        let other = route.from.brokers.iter().find_map(|name| sharing.get(name.as_str()));
        if let Some(other) = other.filter(|_| is_plain) {
            let what = format!(
                "what comes for this route while we are away is lost: it shares a connection with `{other}`, whose session \
                 ends with that"
            );
            let hint = "give the shared route a broker entry of its own, with the same `url`";
            context.warning(&written.at, what, hint);
        }
    }
}
