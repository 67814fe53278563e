//! Access lists, as keys and values.

use super::keys::Keys;
use crate::model::{AccessEntry, AccessLists, AccessTopics};

impl Keys {
    pub(super) fn access(&mut self, lists: &AccessLists) {
        let AccessLists { acl_file, groups, rules } = lists;
        acl_file.iter().for_each(|path| self.told("acl_file", path.display()));
        if !groups.is_empty() {
            self.section("groups", |keys| groups.iter().for_each(|(name, users)| keys.list(name, users)));
        }
        for (at, AccessEntry { users, groups, client_ids, certificates, allow, deny }) in rules.iter().enumerate() {
            self.section(&format!("access[{at}]"), |keys| {
                let whom =
                    [("users", users), ("groups", groups), ("client_ids", client_ids), ("certificates", certificates)];
                for (key, names) in whom {
                    keys.list_if_any(key, names);
                }
                for (key, AccessTopics { publish, subscribe, receive }) in [("allow", allow), ("deny", deny)] {
                    for (action, patterns) in [("publish", publish), ("subscribe", subscribe), ("receive", receive)] {
                        keys.list_if_any(&format!("{key}.{action}"), patterns);
                    }
                }
            });
        }
    }

    fn list_if_any(&mut self, key: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.list(key, texts);
        }
    }
}
