//! The access lists of the box's own brokers, as the broker takes them.

use crate::settings::{Wrong, line_by_line};
use std::path::Path;
use tidegate_broker::{Access, AccessRule, Action, ClientNames, Whom, parse_acl_file};
use tidegate_config::{AccessEntry, AccessLists, AccessTopics};

/// Who may publish and hear what at a broker of this name; `None`: everybody everything. Reads the file, if there is one.
pub(crate) fn access(broker: &str, lists: &AccessLists) -> Result<Option<Access>, Wrong> {
    if lists.acl_file.is_none() && lists.rules.is_empty() {
        return Ok(None);
    }
    let mut rules = lists.acl_file.as_deref().map_or_else(|| Ok(Vec::new()), of_file)?;
    rules.extend(lists.rules.iter().enumerate().flat_map(|(at, entry)| of_entry(broker, lists, at, entry)));
    Ok(Some(Access::new(rules)))
}

fn of_file(path: &Path) -> Result<Vec<AccessRule>, Wrong> {
    let wrong = |words| Wrong { key: "acl_file", words, elsewhere: false };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    parse_acl_file(&text, &path.display().to_string())
        .map_err(|errors| wrong(line_by_line(path, errors.iter().map(|error| (error.line, &error.problem)))))
}

/// Whether a client of the box's own broker of this name may do that, and the place of the rule that says so; `None` there: none speaks of
/// it. Does I/O.
///
/// # Errors
/// The lists cannot be read, or that is no topic or filter; in words.
pub fn explain_access(
    broker: &str,
    lists: &AccessLists,
    client: ClientNames<'_>,
    action: Action,
    topic: &str,
) -> Result<(bool, Option<String>), String> {
    let Some(access) = access(broker, lists).map_err(|wrong| wrong.words)? else { return Ok((true, None)) };
    let permits = access.permits(client);
    let (may, place) = permits.explain(action, topic)?;
    Ok((may, place.map(str::to_owned)))
}

/// The rules of an entry are asked behind those of a file, of which users come first and then the patterns.
const RANK: u8 = 2;

/// The rules of one entry.
fn of_entry(broker: &str, lists: &AccessLists, at: usize, entry: &AccessEntry) -> Vec<AccessRule> {
    let AccessEntry { users, groups, client_ids, certificates, allow, deny } = entry;
    let of_groups = groups.iter().filter_map(|group| lists.groups.get(group)).flatten();
    let names: Vec<String> = users.iter().chain(of_groups).cloned().collect();
    let named = !(users.is_empty() && groups.is_empty());
    let whom = Whom {
        users: named.then_some(names),
        client_ids: (!client_ids.is_empty()).then(|| client_ids.clone()),
        certificates: (!certificates.is_empty()).then(|| certificates.clone()),
        anonymous: false,
    };
    let mut rules = Vec::new();
    for (key, allows, topics) in [("allow", true, allow), ("deny", false, deny)] {
        let AccessTopics { publish, subscribe, receive } = topics;
        let lists = [
            ("publish", Action::Publish, publish),
            ("subscribe", Action::Subscribe, subscribe),
            ("receive", Action::Receive, receive),
        ];
        for (name, action, patterns) in lists {
            rules.extend(patterns.iter().map(|pattern| AccessRule {
                whom: whom.clone(),
                action,
                allows,
                pattern: pattern.clone(),
                fills_in: pattern.split('/').any(|level| matches!(level, "%u" | "%c")),
                rank: RANK,
                place: format!("brokers.{broker}.access[{at}].{key}.{name}, `{pattern}`"),
            }));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_broker::Certificate;

    fn names<'a>(user: Option<&'a str>, client_id: &'a str) -> ClientNames<'a> {
        ClientNames { user, client_id, certificate: Certificate::Shown(&[]) }
    }

    #[test]
    fn a_rule_is_for_users_groups_and_clients_of_its_entry() {
        let lists = AccessLists {
            acl_file: None,
            groups: [("staff".to_owned(), vec!["bob".to_owned()])].into(),
            rules: vec![
                AccessEntry {
                    users: vec!["ann".to_owned()],
                    groups: vec!["staff".to_owned()],
                    allow: AccessTopics { publish: vec!["a/%u/#".to_owned()], ..AccessTopics::default() },
                    ..AccessEntry::default()
                },
                AccessEntry {
                    client_ids: vec!["c+".to_owned()],
                    allow: AccessTopics { receive: vec!["b/#".to_owned()], ..AccessTopics::default() },
                    ..AccessEntry::default()
                },
            ],
        };
        let access = access("own", &lists).unwrap().unwrap();
        let may = |user: Option<&str>, client: &str, action, topic: &str| {
            access.permits(names(user, client)).explain(action, topic).unwrap().0
        };
        assert!(may(Some("ann"), "x", Action::Publish, "a/ann/1") && may(Some("bob"), "x", Action::Publish, "a/bob/1"));
        assert!(!may(Some("ann"), "x", Action::Publish, "a/bob/1") && !may(None, "x", Action::Publish, "a/ann/1"));
        assert!(!may(Some("eve"), "x", Action::Publish, "a/eve/1"));
        assert_eq!(
            access.permits(names(Some("bob"), "x")).explain(Action::Publish, "a/bob/1").unwrap().1.unwrap(),
            "brokers.own.access[0].allow.publish, `a/%u/#`"
        );
        assert!(!may(None, "x", Action::Receive, "b/1"));
        assert_eq!(super::access("own", &AccessLists::default()).unwrap(), None);
    }
}
