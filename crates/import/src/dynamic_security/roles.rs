//! What roles and `defaultACLAccess` let, as rules of which what denies comes first.
//!
//! The plugin asks about a subscription and then about each message; a list here that says only what may be subscribed to lets that be
//! received, and one that says only what may be received lets that be subscribed to. So what is allowed by default is not said of roles, and
//! who may only do one of the two, which is nothing, is denied both.

use super::order::{self, Entry};
use super::{Acl, Action, DynamicSecurity, File, Has, Role, Rule, Topics};
use std::collections::{BTreeMap, BTreeSet};

/// Where the plugin itself is talked to.
const CONTROL: &str = "$CONTROL";

/// Where a broker tells of itself; nobody else publishes there.
const SYS: &str = "$SYS";

/// Before the group of a shared subscription and its filter.
const SHARE: &str = "$share/";

/// What begins with `$` is matched by no wildcard at the first level (MQTT 5.0 section 4.7.2), but by patterns for subscribing.
const ALL: &str = "#";

/// A role that somebody has.
struct Held<'f> {
    role: &'f Role,
    users: Vec<String>,
    groups: Vec<String>,
    entries: Vec<Entry>,
}

impl DynamicSecurity {
    pub(super) fn roles(&mut self, file: &File) {
        let trees = trees(file);
        let mut held = Vec::new();
        for role in &file.roles {
            let has = |roles: &[Has]| roles.iter().any(|has| has.rolename == role.rolename);
            let users = file.clients.iter().filter(|client| has(&client.roles)).map(|client| client.username.clone());
            let groups = file.groups.iter().filter(|group| has(&group.roles)).map(|group| group.groupname.clone());
            let (users, groups): (Vec<String>, Vec<String>) = (users.collect(), groups.collect());
            if users.is_empty() && groups.is_empty() {
                self.remarks.push(format!("nobody has the role `{}`, and it is left out", role.rolename));
                continue;
            }
            let entries = self.entries(role, file, &trees);
            held.push(Held { role, users, groups, entries });
        }
        self.order_is_lost(file, &held);
        let is_default = |action| match action {
            Action::Publish => file.defaults.publish,
            Action::Subscribe => file.defaults.subscribe,
            Action::Receive => file.defaults.receive,
        };
        let mut is_left_out = false;
        for Held { role, users, groups, entries } in &held {
            let whence = format!("role {}", role.rolename);
            let mut rule = Rule { whence, users: users.clone(), groups: groups.clone(), ..Rule::default() };
            for Entry { action, allow, filter, .. } in entries {
                if *allow && is_default(*action) {
                    is_left_out = true;
                    continue;
                }
                let topics = if *allow { &mut rule.allow } else { &mut rule.deny }.of(*action);
                if !topics.iter().any(|topic| topic == filter.as_str()) {
                    topics.push(filter.as_str().to_owned());
                }
            }
            if !(rule.allow.is_empty() && rule.deny.is_empty()) {
                self.rules.push(rule);
            }
        }
        if is_left_out {
            self.remark("what a role allows and `defaultACLAccess` allows anyway is left out");
        }
        self.defaults(file, &held, &trees);
    }

    fn remark(&mut self, words: impl Into<String>) {
        let words = words.into();
        if !self.remarks.contains(&words) {
            self.remarks.push(words);
        }
    }

    /// What a role says that can be said, in order.
    fn entries(&mut self, role: &Role, file: &File, trees: &BTreeSet<&str>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for acl in &role.acls {
            let Some((action, is_literal, topic)) = self.is_about(&role.rolename, acl) else { continue };
            if action == Action::Subscribe {
                self.remark(
                    "a shared subscription is judged by its filter here; mosquitto judges the whole of `$share/GROUP/FILTER`",
                );
            }
            if is_literal && acl.allow && topic.contains(['+', '#']) && !file.defaults.subscribe {
                self.remark(format!(
                    "`subscribeLiteral` of role `{}` allows `{topic}`: here each filter within it may be subscribed to, too",
                    role.rolename
                ));
            }
            let is_pattern = action == Action::Subscribe && !is_literal;
            // As the plugin compares them, one covers the other.
            let topic = if is_pattern && topic == "+/#" { ALL } else { topic };
            let whole = Entry::new(action, topic, (acl.allow, is_literal, acl.priority));
            let below = |tree: &&str| -> Option<Entry> {
                let rest = match topic.split_once('/') {
                    None if topic == ALL => ALL,
                    Some(("+", rest)) if *tree != SYS || rest.starts_with(['+', '#']) => rest,
                    Some(("+", rest)) if rest.starts_with("broker/") => rest,
                    _ => return None,
                };
                Entry::new(action, &format!("{tree}/{rest}"), (acl.allow, is_literal, acl.priority))
            };
            entries.extend(whole);
            if is_pattern {
                entries.extend(trees.iter().filter_map(below));
            }
        }
        for hidden in order::put(&mut entries) {
            self.remark(format!(
                "role `{}` denies `{}` after it has allowed all of it: that has no effect, and is left out",
                role.rolename, hidden.filter
            ));
        }
        entries
    }

    /// What an entry of a role is about, whether it is literal, and its filter; `None`: nothing, and that is said.
    fn is_about<'a>(&mut self, role: &str, acl: &'a Acl) -> Option<(Action, bool, &'a str)> {
        let topic = acl.topic.as_str();
        let what = || format!("`{}` of role `{role}` on `{topic}`", acl.acltype);
        let (action, is_literal) = match acl.acltype.to_ascii_lowercase().as_str() {
            "publishclientsend" => (Action::Publish, false),
            "publishclientreceive" => (Action::Receive, false),
            "subscribeliteral" if !acl.allow && topic.contains(['+', '#']) && !topic.starts_with(SHARE) => {
                let instead = "a filter is refused where nothing of it may be received; what is denied for `receive` is not handed out";
                self.lose(what(), instead);
                return None;
            }
            "subscribeliteral" => (Action::Subscribe, true),
            "subscribepattern" => (Action::Subscribe, false),
            "unsubscribeliteral" | "unsubscribepattern" if acl.allow => return None,
            "unsubscribeliteral" | "unsubscribepattern" => {
                self.lose(what(), "whoever has subscribed may end it");
                return None;
            }
            _ => {
                self.lose(what(), "it is not known what it is about");
                return None;
            }
        };
        if topic.split('/').next() == Some(CONTROL) {
            self.remark("nothing is at $CONTROL here: users and lists are files, and hold as soon as they are saved");
            return None;
        }
        let topic = match topic.strip_prefix(SHARE).filter(|_| action == Action::Subscribe) {
            Some(_) if !acl.allow => {
                self.lose(what(), "a shared subscription is judged by its filter");
                return None;
            }
            Some(rest) => {
                self.remark(format!("{}: here it may be subscribed to without sharing, too", what()));
                rest.split_once('/').map_or(rest, |(_, filter)| filter)
            }
            None => topic,
        };
        let is_name = |level: &str| ["%u", "%c"].contains(&level);
        let is_part = |level: &str| (level.contains("%u") || level.contains("%c")) && !is_name(level);
        let is_good = Entry::new(action, topic, (true, false, 0)).is_some_and(|entry| entry.filter.share().is_none());
        if !is_good || topic.split('/').any(is_part) {
            self.lose(what(), "a pattern is a topic filter, in which `%u` and `%c` are whole levels");
            return None;
        }
        if topic.split('/').any(is_name) {
            self.remark(
                "levels `%u` and `%c` of roles are the client's names here; mosquitto 2.0 takes them as they stand",
            );
        }
        if topic == "/#" && action == Action::Subscribe && !is_literal {
            self.remark(format!("{}: mosquitto 2.0 takes it for `#`, too, which it is not here", what()));
        }
        Some((action, is_literal, topic))
    }

    /// Says where a role allows what is denied later, in the same role or in another of somebody who has both.
    fn order_is_lost(&mut self, file: &File, held: &[Held<'_>]) {
        const INSTEAD: &str = "here what denies comes first";
        for Held { role, entries, .. } in held {
            if let Some((allowed, denied)) = order::overruled(entries, None) {
                let (role, allowed, denied) = (&role.rolename, &allowed.filter, &denied.filter);
                self.remark(format!("role `{role}` allows `{allowed}` before it denies `{denied}`: {INSTEAD}"));
            }
        }
        let known = |name: &&str| held.iter().position(|held| held.role.rolename == *name);
        let mut pairs: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
        for client in &file.clients {
            let roles: Vec<usize> = order::roles_of(file, client).iter().filter_map(known).collect();
            for (at, first) in roles.iter().enumerate() {
                for later in &roles[at + 1..] {
                    pairs.entry((*first, *later)).or_default().push(&client.username);
                }
            }
        }
        for ((first, later), users) in pairs {
            let (first, later) = (&held[first], &held[later]);
            if let Some((allowed, denied)) = order::overruled(&first.entries, Some(&later.entries)) {
                self.remark(format!(
                    "role `{}` allows `{}` before role `{}` denies `{}`, for {}: {INSTEAD}",
                    first.role.rolename,
                    allowed.filter,
                    later.role.rolename,
                    denied.filter,
                    some_of(&users)
                ));
            }
        }
    }

    /// What holds where no role speaks.
    fn defaults(&mut self, file: &File, held: &[Held<'_>], trees: &BTreeSet<&str>) {
        let everything = |is_read: bool| -> Vec<String> {
            let below = trees.iter().filter(|tree| is_read || **tree != SYS).map(|tree| format!("{tree}/{ALL}"));
            std::iter::once(ALL.to_owned()).chain(below).collect()
        };
        let defaults = &file.defaults;
        let mut allow = Topics::default();
        if defaults.publish {
            allow.publish = everything(false);
            self.remark(
                "by `defaultACLAccess` everybody publishes everywhere: here not to what begins with `$`, unless a role names such topics",
            );
        }
        if defaults.receive && defaults.subscribe {
            allow.receive = everything(true);
        }
        if !defaults.unsubscribe {
            self.remark("whoever has subscribed may end it, whatever `unsubscribe` of `defaultACLAccess` says");
        }
        if !allow.is_empty() {
            self.rules.push(Rule { whence: "defaultACLAccess".to_owned(), allow, ..Rule::default() });
        }
        if !defaults.receive && !defaults.subscribe {
            let mut half = BTreeSet::new();
            for client in &file.clients {
                let roles = order::roles_of(file, client);
                let may = |action| {
                    let of_client = held.iter().filter(|held| roles.contains(&held.role.rolename.as_str()));
                    of_client.flat_map(|held| &held.entries).any(|entry| entry.allow && entry.action == action)
                };
                if may(Action::Subscribe) != may(Action::Receive) {
                    half.insert(client.username.clone());
                }
            }
            if !half.is_empty() {
                let whence = "they may subscribe, or receive, but not both, which is nothing".to_owned();
                let deny = Topics { receive: everything(true), ..Topics::default() };
                self.rules.push(Rule { whence, users: half.into_iter().collect(), deny, ..Rule::default() });
            }
        }
        if self.rules.is_empty() {
            // Without any rule everybody might do everything.
            let deny = Topics { publish: everything(false), receive: everything(true), ..Topics::default() };
            self.rules.push(Rule { whence: "nobody may do anything".to_owned(), deny, ..Rule::default() });
        }
    }
}

/// So many names are told.
const NAMES: usize = 5;

fn some_of(users: &[&str]) -> String {
    let names: Vec<String> = users.iter().take(NAMES).map(|user| format!("`{user}`")).collect();
    match users.len().saturating_sub(NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// The first levels that begin with `$` and that are known: `$SYS`, and those that a role names.
fn trees(file: &File) -> BTreeSet<&str> {
    let topics = file.roles.iter().flat_map(|role| &role.acls).map(|acl| acl.topic.as_str());
    let first = topics.filter_map(|topic| topic.split('/').next()).filter(|level| level.starts_with('$'));
    let others = first.filter(|level| ![CONTROL, "$share"].contains(level) && !level.contains(['+', '#', '%']));
    others.chain([SYS]).collect()
}
