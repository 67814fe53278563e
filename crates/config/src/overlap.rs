//! Filters of one source that overlap: on MQTT 3.x nothing tells copies of a message from the same message sent twice.
//!
//! A broker may send a message once for each subscription that it matches (MQTT 3.1.1 section 3.3.5). Of two filters of which
//! one covers the other only the wider is subscribed; for the others there are identifiers in MQTT 5, and nothing in 3.x.

use crate::broker::{LinkBroker, Version};
use crate::checked::Config;
use crate::problem::Span;
use crate::read::Marks;
use crate::reader::Reader;
use tidegate_message::TopicFilter;

/// Warns of messages that may come twice.
pub(crate) fn check(reader: &Reader<'_>, config: &Config, marks: &Marks) {
    for (name, link) in config.brokers.iter().filter_map(|(name, broker)| Some((name, broker.link()?))) {
        if link.version == Version::V5 {
            continue;
        }
        let routes = config.routes.iter().zip(&marks.routes).filter(|(route, _)| route.from.broker == *name);
        let filters: Vec<_> = routes.flat_map(|(route, marks)| route.from.topics.iter().zip(&marks.topics)).collect();
        // What another covers is not subscribed.
        let wider = |filter: &TopicFilter, by: &TopicFilter| {
            by != filter && by.share() == filter.share() && by.covers(filter) && !filter.covers(by)
        };
        let is_covered = |filter: &TopicFilter| filters.iter().any(|(by, _)| wider(filter, by));
        let filters: Vec<_> = filters.iter().filter(|(filter, _)| !is_covered(filter)).collect();
        for (at, later) in filters.iter().enumerate() {
            // One warning a filter, with the first that it gets into the way of.
            if let Some((earlier, _)) = filters[..at].iter().find(|(earlier, _)| may_double(earlier, later.0)) {
                warn(reader, link, earlier, later);
            }
        }
    }
}

/// Whether a message may come once for each of them, and both have to be subscribed.
fn may_double(one: &TopicFilter, other: &TopicFilter) -> bool {
    let one_is_enough = one.share() == other.share() && (one.covers(other) || other.covers(one));
    one.overlaps(other) && !one_is_enough
}

fn warn(reader: &Reader<'_>, link: &LinkBroker, earlier: &TopicFilter, (later, at): &(&TopicFilter, &Span)) {
    let when = match link.version {
        Version::Auto => "a broker of MQTT 3.1.1 may send a message",
        _ => "the broker may send a message",
    };
    let what = format!("{when} that both `{earlier}` and `{later}` match twice, which looks like two");
    let hint = match (&later.share(), &link.version) {
        (Some(_), _) => "share all of what overlaps, or narrow one of them",
        (None, Version::Auto) => "narrow one of them, subscribe to what covers both, or set `version = \"5\"`",
        (None, _) => "narrow one of them, or subscribe to what covers both",
    };
    reader.warning(at, what, hint);
}
