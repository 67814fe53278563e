//! Reads who may publish and hear what at the box's own broker: `acl_file`, `groups` and `access`.

use crate::model::{AccessEntry, AccessLists, AccessTopics};
use crate::tree::{At, Context, Section, Value};
use crate::values::shown;
use std::collections::BTreeMap;
use tidegate_message::TopicFilter;

/// What a pattern has for a name of the client; as long as a level may be.
const NAMES: [&str; 2] = ["%u", "%c"];

/// Who is known of whom.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Somebody's user name is proved.
    pub(super) users: bool,
    /// Somebody shows a certificate.
    pub(super) certificates: bool,
}

pub(super) fn read_access(section: &mut Section<'_, '_, '_, '_>, broker: &str, known: Known) -> AccessLists {
    let context = section.context;
    let acl_file = section.path("acl_file");
    if let Some(file) = &acl_file {
        context.place(format!("brokers.{broker}.acl_file"), &file.at);
    }
    let groups = section.take("groups").map(|value| read_groups(&value)).unwrap_or_default();
    let entries = section.take("access").map(|value| value.sections("[[brokers.<name>.access]]")).unwrap_or_default();
    let rules = entries.into_iter().map(|entry| read_entry(entry, &groups, known)).collect();
    AccessLists { acl_file: acl_file.map(|path| path.value), groups, rules }
}

fn read_groups(value: &Value<'_, '_, '_, '_>) -> BTreeMap<String, Vec<String>> {
    let Some(table) = value.table("groups = { staff = [\"ann\", \"bob\"] }") else { return BTreeMap::new() };
    let mut groups = BTreeMap::new();
    for (name, users) in table {
        let users = value.entry(users.span(), users.get_ref()).texts().unwrap_or_default();
        let users = users.into_iter().map(|user| user.value.to_owned()).collect();
        groups.insert(name.get_ref().to_string(), users);
    }
    groups
}

fn read_entry(
    mut section: Section<'_, '_, '_, '_>,
    all_groups: &BTreeMap<String, Vec<String>>,
    known: Known,
) -> AccessEntry {
    let context = section.context;
    let [users, groups, client_ids, certificates] =
        ["users", "groups", "client_ids", "certificates"].map(|key| section.texts(key).unwrap_or_default());
    for group in &groups {
        if !all_groups.contains_key(group.value) {
            let names = all_groups.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let hint = if names.is_empty() {
                "name users in `groups` of the broker".to_owned()
            } else {
                format!("the groups are {names}")
            };
            context.error(&group.at, format!("there is no group {}", shown(group.value)), hint);
        }
    }
    if let Some(first) = users.first().or(groups.first())
        && !known.users
    {
        let what = "nobody proves a user name to this broker, so a rule for one is for anybody who says it";
        context.error(&first.at, what, "add `users = \"users.txt\"`, or leave out `users` and `groups` here");
    }
    if let Some(first) = certificates.first()
        && !known.certificates
    {
        let what = "no client of this broker shows a certificate, so the rule is for nobody";
        context.error(
            &first.at,
            what,
            "add `tls = { client_ca = \"ca.pem\" }` to the broker, or leave out `certificates`",
        );
    }
    let owned = |texts: Vec<crate::tree::At<&str>>| texts.into_iter().map(|text| text.value.to_owned()).collect();
    if !section.has("allow") && !section.has("deny") {
        context.error(&section.at, "a rule that allows and denies nothing", "add `allow` or `deny`");
    }
    let allow = section.section("allow", "allow = { publish = [\"dev/%c/#\"] }").map(read_topics).unwrap_or_default();
    let deny = section.section("deny", "deny = { receive = [\"private/#\"] }").map(read_topics).unwrap_or_default();
    section.finish();
    AccessEntry {
        users: owned(users),
        groups: owned(groups),
        client_ids: owned(client_ids),
        certificates: owned(certificates),
        allow,
        deny,
    }
}

fn read_topics(mut section: Section<'_, '_, '_, '_>) -> AccessTopics {
    let topics = AccessTopics {
        publish: patterns(&mut section, "publish"),
        subscribe: patterns(&mut section, "subscribe"),
        receive: patterns(&mut section, "receive"),
    };
    section.finish();
    topics
}

fn patterns(section: &mut Section<'_, '_, '_, '_>, key: &'static str) -> Vec<String> {
    let context = section.context;
    let mut patterns = Vec::new();
    for text in section.texts(key).unwrap_or_default() {
        match TopicFilter::new(text.value) {
            Err(error) => {
                context.error(&text.at, format!("{} is no topic filter: {error}", shown(text.value)), "correct it")
            }
            Ok(filter) if filter.share().is_some() => {
                context.error(&text.at, "a rule speaks of topics, not of shares", "leave out `$share/<group>/`");
            }
            Ok(_) if !names_whole_levels(context, &text) => {}
            Ok(_) => patterns.push(text.value.to_owned()),
        }
    }
    patterns
}

/// Whether a client's names, where they are in a text, are levels of their own; says where they are not.
pub(super) fn names_whole_levels(context: &Context<'_>, text: &At<&str>) -> bool {
    let is_part = |level: &str| NAMES.iter().any(|name| level.contains(name)) && !NAMES.contains(&level);
    let has_part = text.value.split('/').any(is_part);
    if has_part {
        let what = format!("{} has a name in a part of a level, where it stays as it is", shown(text.value));
        context.error(&text.at, what, "let `%u` and `%c` be whole levels, such as dev/%c");
    }
    !has_part
}
