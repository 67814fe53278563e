//! What a broker's preset says that it needs and refuses, held against the configuration.
//!
//! All of these are warnings: a vendor may have raised a quota meanwhile, and then nobody should have to wait for us.

use crate::model::{Announcement, Broker, LinkBroker, Retain, Route};
use crate::presets::{Filled, Sourced};
use crate::problem::Span;
use crate::sections::{Draft, WrittenRoute};
use crate::topics::Pattern;
use crate::tree::Context;
use crate::values::{shown, size_text};
use std::collections::BTreeSet;
use tidegate_message::{QoS, TopicFilter};

/// One broker with its preset.
struct Held<'c> {
    context: &'c Context<'c>,
    name: &'c str,
    link: &'c LinkBroker,
    filled: &'c Filled,
}

/// Warns of what it will not take.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    for (name, filled) in &draft.written.presets {
        let Some(link) = draft.config.brokers.get(name).and_then(Broker::link) else { continue };
        let held = Held { context, name, link, filled };
        held.broker();
        held.subscriptions(draft);
        let mut large: BTreeSet<&String> = BTreeSet::new();
        for (route, written) in draft.routes() {
            if route.from.has(name) {
                held.subscribed(route, written);
            }
            let goes_there = |target: &String| draft.config.brokers_of(target).contains(&name.as_str());
            if let Some(target) = written.to.iter().find(|target| goes_there(&target.value)) {
                held.published(draft, route, written);
                for source in route.from.brokers.iter().filter(|source| large.insert(*source)) {
                    held.payload(draft, source, &target.at);
                }
            }
        }
    }
}

impl Held<'_> {
    fn warn<T>(&self, at: &Span, what: String, limit: &Sourced<T>, hint: &str) {
        let what = format!("{what} (preset `{}`; {})", self.filled.preset.name, limit.source);
        self.context.warning(at, what, hint);
    }

    fn title(&self) -> &str {
        &self.filled.preset.title
    }

    /// The broker's own section.
    fn broker(&self) {
        let Self { link, filled, .. } = self;
        let (needs, limits, at) = (&filled.preset.needs, &filled.preset.limits, &filled.at);
        let (title, name) = (self.title(), shown(self.name));
        if let Some(needed) = &needs.tls
            && !link.url.scheme.is_tls()
        {
            let what = format!("{title} is reached over TLS only, and broker {name} is at {}://", link.url.scheme);
            self.warn(at, what, needed, "write its url with mqtts:// or wss://");
        }
        if let Some(needed) = &needs.username
            && link.username.is_none()
            && link.tls.as_ref().is_none_or(|tls| tls.cert.is_none())
        {
            let what = format!("{title} wants to know who comes, and broker {name} has no `username`");
            self.warn(at, what, needed, "add `username` and `password`");
        }
        if let Some(needed) = &needs.client_id
            && link.client_id.starts_with("tidegate-")
        {
            let what = format!("{title} gives clients their ids, and broker {name} has none of its own");
            self.warn(at, what, needed, "add `client_id`");
        }
        if let Some(taken) = &limits.usernames_but
            && let Some(user) = link.username.as_ref().filter(|user| taken.is.contains(user))
        {
            let what = format!("{title} keeps the user {} for itself", shown(user));
            self.warn(at, what, taken, "use another `username`");
        }
        self.qos(at, "`max_qos`", link.max_qos, "lower it, or leave it out");
        let seconds = |time: std::time::Duration| time.as_secs();
        let most = |what: &str, is: u64, limit: &Option<Sourced<u64>>, unit: &str, hint: &str| {
            if let Some(limit) = limit.as_ref().filter(|limit| is > limit.is) {
                let what =
                    format!("{title} takes {what} of at most {}{unit}, and that of {name} is {is}{unit}", limit.is);
                self.warn(at, what, limit, hint);
            }
        };
        most(
            "a client id",
            link.client_id.len() as u64,
            &limits.client_id_bytes,
            " bytes",
            "set a shorter `client_id`",
        );
        most("a `keep_alive`", seconds(link.keep_alive), &limits.keep_alive_s, " s", "lower it");
        most("a `session_expiry`", seconds(link.session_expiry), &limits.session_expiry_s, " s", "lower it");
        if let Some(will) = &link.will {
            most("a will `delay`", seconds(will.delay), &limits.will_delay_s, " s", "lower it");
            self.announced("will", &will.message);
        }
        link.birth.iter().for_each(|said| self.announced("birth", said));
        link.farewell.iter().for_each(|said| self.announced("farewell", said));
    }

    /// What the gateway itself says there.
    fn announced(&self, what: &str, said: &Announcement) {
        let at = &self.filled.at;
        self.qos(at, &format!("`{what}`"), said.qos, "lower its `qos`");
        if let Ok(topic) = TopicFilter::new(said.topic.to_string()) {
            self.topics(at, &format!("`{what}`"), &Pattern::of(&topic));
        }
        if said.retain {
            self.retained(at, &format!("`{what}`"), "leave out its `retain`");
        }
    }

    fn qos(&self, at: &Span, what: &str, qos: QoS, hint: &str) {
        if let Some(limit) = self.filled.preset.limits.max_qos.as_ref().filter(|limit| qos as u64 > limit.is) {
            let what = format!("{} takes at most QoS {}, and {what} is QoS {}", self.title(), limit.is, qos as u8);
            self.warn(at, what, limit, hint);
        }
    }

    fn retained(&self, at: &Span, what: &str, hint: &str) {
        if let Some(limit) = self.filled.preset.limits.retained.as_ref().filter(|limit| !limit.is) {
            let what = format!("{} retains nothing, and {what} may be retained", self.title());
            self.warn(at, what, limit, hint);
        }
    }

    /// Topics that are published to.
    fn topics(&self, at: &Span, what: &str, topics: &Pattern) {
        let limits = &self.filled.preset.limits;
        let title = self.title();
        let (levels, bytes) = topics.least();
        if let Some(limit) = limits.topic_levels.as_ref().filter(|limit| levels as u64 > limit.is) {
            let what = format!("{title} takes topics of at most {} levels, and {what} has {levels}", limit.is);
            self.warn(at, what, limit, "shorten it with `remap`");
        }
        if let Some(limit) = limits.topic_bytes.as_ref().filter(|limit| bytes as u64 > limit.is) {
            let what = format!("{title} takes topics of at most {} bytes, and {what} has {bytes} or more", limit.is);
            self.warn(at, what, limit, "shorten it with `remap`");
        }
        if let Some(limit) = &limits.topics_without
            && let Some(character) = topics.texts().flat_map(str::chars).find(|c| limit.is.contains(*c))
        {
            let what = format!("{title} takes no `{character}` in a topic, and {what} has one");
            self.warn(at, what, limit, "write it otherwise with `remap`");
        }
        if let Some(limit) = &limits.publish_topics
            && !limit.is.iter().any(|filter| Pattern::of(filter).meet(topics).is_some())
        {
            let filters = limit.is.iter().map(|filter| format!("`{filter}`")).collect::<Vec<_>>().join(" and ");
            let what = format!("{title} takes nothing but {filters}, and {what} is none of these");
            self.warn(at, what, limit, "give it such a topic with `remap`");
        }
    }

    /// A route that takes from it.
    fn subscribed(&self, route: &Route, written: &WrittenRoute) {
        let limits = &self.filled.preset.limits;
        let title = self.title();
        self.qos(&written.source, "what this route subscribes with", route.from.qos, "leave out `qos` of `from`");
        for filter in &written.topics {
            let pattern = Pattern::of(&filter.value);
            let (levels, text) = (filter.value.pattern().split('/').count(), filter.value.as_str());
            if let Some(limit) = limits.filter_levels.as_ref().filter(|limit| levels as u64 > limit.is) {
                let what = format!("{title} takes filters of at most {} levels, and `{text}` has {levels}", limit.is);
                self.warn(&filter.at, what, limit, "subscribe to less deep topics");
            }
            if let Some(limit) = limits.shared.as_ref().filter(|limit| !limit.is && filter.value.share().is_some()) {
                let what = format!("{title} has no shared subscriptions, and `{text}` is one");
                self.warn(&filter.at, what, limit, "leave `$share/.../` out");
            }
            if let Some(limit) = &limits.subscribe_topics
                && !limit.is.iter().any(|filter| Pattern::of(filter).meet(&pattern).is_some())
            {
                let filters = limit.is.iter().map(|filter| format!("`{filter}`")).collect::<Vec<_>>().join(" and ");
                let what = format!("{title} has nothing but {filters}, and `{text}` is none of these");
                self.warn(&filter.at, what, limit, "name topics that it has");
            }
            if let Some(limit) = &limits.topics_without
                && let Some(character) = pattern.texts().flat_map(str::chars).find(|c| limit.is.contains(*c))
            {
                let what = format!("{title} takes no `{character}` in a filter, and `{text}` has one");
                self.warn(&filter.at, what, limit, "name other topics");
            }
        }
    }

    fn subscriptions(&self, draft: &Draft) {
        let Some(limit) = &self.filled.preset.limits.subscriptions else { return };
        let mut filters = BTreeSet::new();
        for (route, written) in draft.routes().filter(|(route, _)| route.from.has(self.name)) {
            let before = filters.len() as u64;
            filters.extend(&route.from.topics);
            let count = filters.len() as u64;
            if before <= limit.is && count > limit.is {
                let what = format!(
                    "{} takes at most {} subscriptions of a client, and with this route broker {} has {count} filters",
                    self.title(),
                    limit.is,
                    shown(self.name)
                );
                self.warn(&written.source, what, limit, "use filters that cover several");
                return;
            }
        }
    }

    /// A route that leads to it.
    fn published(&self, draft: &Draft, route: &Route, written: &WrittenRoute) {
        if let Some(qos) = route.qos {
            self.qos(&written.at, "`qos` of this route", qos, "lower it");
        }
        if route.retain == Retain::Keep {
            self.retained(&written.at, "what this route sends", "set `retain = \"clear\"` on the route");
        }
        // A plugin that may choose topics sees to them.
        if draft.config.may_rewrite(route) {
            return;
        }
        for filter in &written.topics {
            if let Some(sent) = Pattern::of(&filter.value).sent_by(route) {
                self.topics(&filter.at, &format!("what this route sends of `{}`", filter.value), &sent);
            }
        }
    }

    /// What comes may be larger than what may go.
    fn payload(&self, draft: &Draft, source: &str, at: &Span) {
        let Some(limit) = &self.filled.preset.limits.payload_bytes else { return };
        let (most, key) = match draft.config.brokers.get(source) {
            Some(Broker::Link(link)) => (link.max_packet_size, "max_packet_size"),
            Some(Broker::Embedded(own)) => (own.limits.max_packet_size, "limits.max_packet_size"),
            // What its stream takes is not known here.
            Some(Broker::Nats(_)) | None => return,
        };
        if u64::from(most) > limit.is {
            let (title, source) = (self.title(), shown(source));
            let (is, most) = (size_text(limit.is), size_text(u64::from(most)));
            let what = format!("{title} takes messages of at most {is}, and those of broker {source} may have {most}");
            let hint = format!("set `{key} = \"{is}\"` on {source}, so that what is larger is not taken from it");
            self.warn(at, what, limit, &hint);
        }
    }
}
