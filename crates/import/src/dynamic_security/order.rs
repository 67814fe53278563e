//! In which order the plugin asks what the roles of a client say. The first that is about it decides; here what denies does.
//!
//! First come the roles of the client itself, then those of its groups; of both those with the highest priority, and by name where that is
//! the same. Within a role the literal filters come before the patterns, whatever their priority.

use super::{Action, Client, File, Group, Has};
use std::cmp::Reverse;
use tidegate_message::TopicFilter;

/// An entry of a role that can be said here.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) action: Action,
    pub(super) allow: bool,
    pub(super) filter: TopicFilter,
    /// With `+` in the place of names that are filled in.
    widest: TopicFilter,
    /// About this filter alone, and not about those within it.
    is_literal: bool,
    priority: i64,
}

impl Entry {
    /// `None`: it is no filter.
    pub(super) fn new(action: Action, topic: &str, (allow, is_literal, priority): (bool, bool, i64)) -> Option<Self> {
        let filter = TopicFilter::new(topic).ok()?;
        let wide: Vec<&str> =
            topic.split('/').map(|level| if matches!(level, "%u" | "%c") { "+" } else { level }).collect();
        Some(Self { action, allow, filter, widest: TopicFilter::new(wide.join("/")).ok()?, is_literal, priority })
    }

    /// Whether this entry, asked first, decides on all that another is about.
    fn hides(&self, other: &Self) -> bool {
        self.action == other.action
            && if self.is_literal {
                self.filter == other.filter && (other.is_literal || !other.filter.has_wildcard())
            } else {
                self.filter.takes_all_of(&other.filter)
            }
    }

    /// Whether both are about something.
    fn meets(&self, other: &Self) -> bool {
        self.action == other.action
            && match (self.is_literal, other.is_literal) {
                (false, false) => self.widest.overlaps(&other.widest),
                (true, false) => other.widest.takes_all_of(&self.widest),
                (false, true) => self.widest.takes_all_of(&other.widest),
                (true, true) => self.filter == other.filter,
            }
    }
}

/// Puts the entries of a role in order, and takes out those that deny what all of it is allowed before: they have no effect. These come
/// back.
pub(super) fn put(entries: &mut Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| (!entry.is_literal, Reverse(entry.priority)));
    let (mut kept, mut hidden): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
    for entry in entries.drain(..) {
        let is_hidden = !entry.allow && kept.iter().any(|before| before.allow && before.hides(&entry));
        if is_hidden { hidden.push(entry) } else { kept.push(entry) }
    }
    *entries = kept;
    hidden
}

/// What is allowed, and denied by an entry that is asked later: here it is denied. `None`: there is no such thing.
pub(super) fn overruled<'e>(first: &'e [Entry], later: Option<&'e [Entry]>) -> Option<(&'e Entry, &'e Entry)> {
    first.iter().enumerate().filter(|(_, allowed)| allowed.allow).find_map(|(at, allowed)| {
        let denied = later.unwrap_or(&first[at..]).iter().find(|denied| !denied.allow && allowed.meets(denied))?;
        Some((allowed, denied))
    })
}

/// The roles of a client.
pub(super) fn roles_of<'f>(file: &'f File, client: &'f Client) -> Vec<&'f str> {
    let in_it = |group: &'f Group| {
        let member = group.clients.iter().find(|member| member.username == client.username)?;
        Some((member.priority, group))
    };
    let mut groups: Vec<(i64, &Group)> = file.groups.iter().filter_map(in_it).collect();
    groups.sort_by(|(one, group), (two, other)| two.cmp(one).then_with(|| group.groupname.cmp(&other.groupname)));
    let mut all: Vec<&str> = Vec::new();
    for roles in std::iter::once(&client.roles).chain(groups.iter().map(|(_, group)| &group.roles)) {
        let mut roles: Vec<&Has> = roles.iter().collect();
        roles.sort_by(|one, two| two.priority.cmp(&one.priority).then_with(|| one.rolename.cmp(&two.rolename)));
        for role in roles {
            if !all.contains(&role.rolename.as_str()) {
                all.push(&role.rolename);
            }
        }
    }
    all
}
