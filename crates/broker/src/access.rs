//! Who may publish and hear what.
//!
//! Rules become a client's [`Permits`] when it connects, its names filled in, and again when the rules change. Of two rules the one of
//! the lower rank is asked first; within a rank what denies comes before what allows; what no rule speaks of is denied.

use std::sync::Arc;
use tidegate_message::{Topic, TopicFilter};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic, also by a will.
    Publish,
    /// Subscribe with a filter.
    Subscribe,
    /// Be given what is published to a topic, whatever the filter that asked for it.
    Receive,
}

/// Whom a rule is for: who fits all that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whom {
    /// One of these users; `None`: with any name, or none.
    pub users: Option<Vec<String>>,
    /// One of these client identifiers.
    pub client_ids: Option<Vec<String>>,
    /// One whose certificate has one of these names; `None`: with any, or without one.
    pub certificates: Option<Vec<String>>,
    /// Only who gives no name.
    pub anonymous: bool,
}

/// What is known of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate<'a> {
    /// The names in the one that it has shown, of any kind; none, if it has shown none.
    Shown(&'a [Box<str>]),
    /// The client is away since before the process began. What it may receive is asked again when it is back.
    Unknown,
}

/// Who a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientNames<'a> {
    /// Its user name, if it has one.
    pub user: Option<&'a str>,
    /// Its client identifier.
    pub client_id: &'a str,
    /// Its certificate.
    pub certificate: Certificate<'a>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// For these.
    pub whom: Whom,
    /// About this.
    pub action: Action,
    /// Otherwise it denies.
    pub allows: bool,
    /// On what matches this.
    pub pattern: String,
    /// Whether a level `%u` of it is the client's user name, and `%c` its client identifier.
    pub fills_in: bool,
    /// The lower one is asked first.
    pub rank: u8,
    /// Where it stands, for people.
    pub place: String,
}

/// All topics but those that begin with `$`, which no wildcard matches there (MQTT 5.0 section 4.7.2): what allows those fills nothing in.
const EVERYTHING: &str = "#";

/// All rules. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    rules: Arc<[AccessRule]>,
}

/// What one client may do.
#[derive(Debug, Clone)]
pub struct Permits {
    /// By rank, within it those that deny first.
    entries: Vec<Entry>,
    access: Access,
    /// What may be subscribed to is said, and not only what may be received.
    says_subscribe: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    filter: TopicFilter,
    action: Action,
    allows: bool,
    rank: u8,
    /// Its place among the rules; `None`: the client's names cannot be filled in.
    rule: Option<usize>,
}

impl Whom {
    /// Whether a rule that allows, or denies, is for this client. What is not known of it is taken for it.
    fn fits(&self, ClientNames { user, client_id, certificate }: ClientNames<'_>, allows: bool) -> bool {
        let has_name = |wanted: &Vec<String>| match certificate {
            Certificate::Shown(names) => names.iter().any(|name| wanted.iter().any(|one| **one == **name)),
            Certificate::Unknown => allows,
        };
        let is_user = |users: &Vec<String>| user.is_some_and(|user| users.iter().any(|known| known == user));
        self.users.as_ref().is_none_or(is_user)
            && self.client_ids.as_ref().is_none_or(|ids| ids.iter().any(|known| known == client_id))
            && self.certificates.as_ref().is_none_or(has_name)
            && !(self.anonymous && user.is_some())
    }
}

impl AccessRule {
    /// Its pattern for one client. `None` if it has no name to fill in, or if that makes no filter.
    fn filter(&self, user: Option<&str>, client_id: &str) -> Option<TopicFilter> {
        if !self.fills_in {
            return TopicFilter::new(self.pattern.as_str()).ok();
        }
        TopicFilter::new(filled_in(&self.pattern, user, client_id)?).ok()
    }
}

/// A pattern, whose levels `%u` and `%c` are these names. `None` if it has no name for one.
pub(crate) fn filled_in(pattern: &str, user: Option<&str>, client_id: &str) -> Option<String> {
    let level = |level| match level {
        "%u" => user,
        "%c" => Some(client_id),
        other => Some(other),
    };
    let levels: Option<Vec<&str>> = pattern.split('/').map(level).collect();
    Some(levels?.join("/"))
}

impl Access {
    /// By these rules; what none speaks of is denied.
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self { rules: rules.into() }
    }

    /// What a client of these names may do.
    pub fn permits(&self, client: ClientNames<'_>) -> Permits {
        let ClientNames { user, client_id, .. } = client;
        let has_wildcard = |name: &str| name.contains(['+', '#']);
        let is_wild = user.is_some_and(has_wildcard) || has_wildcard(client_id);
        let mut entries = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            if rule.fills_in && is_wild {
                // It would be let into what is others'. So nothing of this rank is for it.
                let denied = |action, filter| Entry { filter, action, allows: false, rank: rule.rank, rule: None };
                if let Ok(all) = TopicFilter::new(EVERYTHING) {
                    entries.extend([Action::Publish, Action::Receive].map(|action| denied(action, all.clone())));
                }
                continue;
            }
            let filter = rule.whom.fits(client, rule.allows).then(|| rule.filter(user, client_id)).flatten();
            let entry =
                |filter| Entry { filter, action: rule.action, allows: rule.allows, rank: rule.rank, rule: Some(at) };
            entries.extend(filter.map(entry));
        }
        let says = |action: Action| entries.iter().any(|one: &Entry| one.allows && one.action == action);
        let says_subscribe = says(Action::Subscribe);
        if says_subscribe && !says(Action::Receive) {
            // What may be subscribed to may be received.
            let heard = entries.iter().filter(|one| one.action == Action::Subscribe && one.allows);
            let heard: Vec<Entry> = heard.map(|one| Entry { action: Action::Receive, ..one.clone() }).collect();
            entries.extend(heard);
        }
        entries.sort_by_key(|one| (one.rank, one.allows));
        Permits { entries, access: self.clone(), says_subscribe }
    }
}

impl Permits {
    /// Whether the client may publish to a topic, or be given what is published there.
    pub fn allow(&self, action: Action, topic: &Topic) -> bool {
        self.find(action, topic).is_some_and(|entry| entry.allows)
    }

    fn find(&self, action: Action, topic: &Topic) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.action == action && entry.filter.matches(topic))
    }

    /// Whether the client may subscribe with a filter: whether anything that matches it could ever be for it, and the rules about subscribing
    /// let it, if there are some.
    pub fn allow_filter(&self, filter: &TopicFilter) -> bool {
        self.find_filter(filter).is_some_and(|entry| entry.allows)
    }

    fn find_filter(&self, filter: &TopicFilter) -> Option<&Entry> {
        let of = |action: Action| self.entries.iter().filter(move |entry| entry.action == action);
        let decides = |entry: &&Entry| entry.filter.takes_all_of(filter);
        let asked = of(Action::Subscribe).find(decides);
        match asked {
            Some(entry) if !entry.allows => return Some(entry),
            None if self.says_subscribe => return None,
            _ => {}
        }
        // What denies decides only where it denies all of it.
        let heard = |entry: &&Entry| {
            if entry.allows { entry.filter.overlaps(filter) } else { entry.filter.takes_all_of(filter) }
        };
        of(Action::Receive).find(heard)
    }

    /// Whether it may, and the place of the rule that says so; `None`: no rule speaks of it.
    pub fn explain(&self, action: Action, topic_or_filter: &str) -> Result<(bool, Option<&str>), String> {
        let found = match action {
            Action::Subscribe => {
                let filter = TopicFilter::new(topic_or_filter).map_err(|error| error.to_string())?;
                self.find_filter(&filter)
            }
            Action::Publish | Action::Receive => {
                let topic = Topic::new(topic_or_filter).map_err(|error| error.to_string())?;
                self.find(action, &topic)
            }
        };
        let place = found.and_then(|entry| self.access.rules.get(entry.rule?)).map(|rule| &*rule.place);
        Ok((found.is_some_and(|entry| entry.allows), place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: Action, allows: bool, pattern: &str) -> AccessRule {
        let place = format!("{action:?} {pattern}");
        AccessRule { whom: Whom::default(), action, allows, pattern: pattern.into(), fills_in: true, rank: 0, place }
    }

    fn names<'a>(user: Option<&'a str>, client_id: &'a str) -> ClientNames<'a> {
        ClientNames { user, client_id, certificate: Certificate::Shown(&[]) }
    }

    fn may(permits: &Permits, action: Action, text: &str) -> bool {
        permits.explain(action, text).unwrap().0
    }

    #[test]
    fn what_no_rule_allows_is_denied_and_what_denies_comes_first() {
        use Action::{Publish, Receive, Subscribe};
        let rules = vec![
            rule(Publish, true, "dev/%c/#"),
            rule(Publish, false, "dev/+/secret"),
            rule(Receive, true, "cmd/%u/+"),
            rule(Receive, true, "news/#"),
            rule(Receive, false, "news/local/#"),
        ];
        let access = Access::new(rules);
        let ann = access.permits(names(Some("ann"), "d1"));
        for (action, text, allowed) in [
            (Publish, "dev/d1/temp", true),
            (Publish, "dev/d1/secret", false),
            (Publish, "dev/d2/temp", false),
            (Publish, "other", false),
            (Receive, "cmd/ann/go", true),
            (Receive, "cmd/bob/go", false),
            (Receive, "news/world", true),
            (Receive, "news/local/1", false),
            (Subscribe, "cmd/+/go", true),
            (Subscribe, "cmd/bob/+", false),
            (Subscribe, "#", true),
            (Subscribe, "news/local/+", false),
            (Subscribe, "$share/g/news/#", true),
            (Subscribe, "dev/#", false),
        ] {
            assert_eq!(may(&ann, action, text), allowed, "{action:?} {text}");
        }
        assert_eq!(ann.explain(Publish, "dev/d1/secret"), Ok((false, Some("Publish dev/+/secret"))));
        assert_eq!(ann.explain(Publish, "other"), Ok((false, None)));
        // Without a name there is nothing to fill in; a name with a wildcard would fit others' topics.
        assert!(!may(&access.permits(names(None, "d1")), Receive, "cmd//go"));
        let wild = access.permits(names(Some("ann"), "+"));
        assert!(!may(&wild, Publish, "dev/d2/temp") && !may(&wild, Receive, "news/world"));
    }

    #[test]
    fn rules_about_subscribing_bound_what_is_asked_for_and_what_is_heard_if_nothing_else_does() {
        use Action::{Receive, Subscribe};
        let subscribe = [rule(Subscribe, true, "a/#"), rule(Subscribe, false, "a/b/#")];
        let permits = Access::new(subscribe.to_vec()).permits(names(None, "c"));
        assert!(may(&permits, Subscribe, "a/+") && may(&permits, Subscribe, "a/c/#"));
        assert!(!may(&permits, Subscribe, "#") && !may(&permits, Subscribe, "a/b/+"));
        assert!(may(&permits, Receive, "a/x") && !may(&permits, Receive, "b"));
        let both = [&subscribe[..], &[rule(Receive, true, "a/c/#")]].concat();
        let permits = Access::new(both).permits(names(None, "c"));
        assert!(may(&permits, Receive, "a/c/1") && !may(&permits, Receive, "a/x"));
        assert!(may(&permits, Subscribe, "a/#") && !may(&permits, Subscribe, "a/x"), "nothing of it could come");
    }

    #[test]
    fn a_rule_is_for_whom_it_names_and_a_lower_rank_is_asked_first() {
        use Action::Publish;
        let mut of_bob = rule(Publish, true, "x");
        of_bob.whom = Whom {
            users: Some(vec!["bob".into()]),
            client_ids: Some(vec!["c1".into(), "c2".into()]),
            ..Whom::default()
        };
        let mut of_nobody = rule(Publish, true, "y");
        of_nobody.whom.anonymous = true;
        let mut later = rule(Publish, false, "#");
        later.rank = 1;
        let access = Access::new(vec![later, of_bob, of_nobody]);
        let may =
            |user: Option<&str>, client: &str, topic: &str| may(&access.permits(names(user, client)), Publish, topic);
        assert!(may(Some("bob"), "c2", "x") && !may(Some("bob"), "c3", "x") && !may(Some("ann"), "c1", "x"));
        assert!(may(None, "c1", "y") && !may(Some("bob"), "c1", "y"));
    }
    #[test]
    fn a_rule_may_be_for_a_certificate() {
        use Action::Receive;
        let of = |names: &[&str], allows, pattern| {
            let mut rule = rule(Receive, allows, pattern);
            rule.whom.certificates = Some(names.iter().map(|name| (*name).to_owned()).collect());
            rule
        };
        let access = Access::new(vec![of(&["meter", "meter.example"], true, "a/#"), of(&["old"], false, "a/b")]);
        let may = |certificate, topic: &str| {
            may(&access.permits(ClientNames { user: None, client_id: "c", certificate }), Receive, topic)
        };
        let shown = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<Box<str>>>();
        let (meter, old, other) = (shown(&["other", "meter.example"]), shown(&["meter", "old"]), shown(&["x"]));
        assert!(may(Certificate::Shown(&meter), "a/b") && !may(Certificate::Shown(&meter), "b"));
        assert!(may(Certificate::Shown(&old), "a/c") && !may(Certificate::Shown(&old), "a/b"));
        assert!(!may(Certificate::Shown(&[]), "a/b") && !may(Certificate::Shown(&other), "a/b"));
        // Of who is away what could be for it is kept, and asked about again.
        assert!(may(Certificate::Unknown, "a/b") && !may(Certificate::Unknown, "b"));
    }
}
