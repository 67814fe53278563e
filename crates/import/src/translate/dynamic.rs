//! `--own`: what the dynamic-security plugin has, as users, groups and rules of Tidegate's own broker.

use super::{Draft, SecretFile};
use crate::document::Toml;
use crate::dynamic_security::{DynamicSecurity, Rule, Topics};
use crate::problem::Place;

/// The user file that is made of it.
pub(super) const USERS: &str = "home-users.txt";

impl Draft<'_> {
    /// The file with its users, to be written beside the configuration.
    pub(super) fn dynamic_users(&mut self, place: &Place, made: &DynamicSecurity) {
        let lines: String = made.users.iter().flat_map(|line| [line, "\n"]).collect();
        let file = SecretFile { name: USERS.to_owned(), password: lines, place: place.clone(), keyword: "plugin" };
        self.secrets.push(file);
    }

    /// Its groups and rules, and what is lost of it.
    pub(super) fn dynamic_rules(&mut self, place: &Place, made: &DynamicSecurity) {
        for (what, instead) in &made.lost {
            self.lose(place, what.clone(), instead.clone());
        }
        for words in &made.remarks {
            self.remark(place, words.clone());
        }
        if !made.groups.is_empty() {
            self.document.blank();
            self.document.table(&["brokers", "home", "groups"]);
            for (name, users) in &made.groups {
                self.document.quoted_key(name, Toml::Texts(users.clone()), "");
            }
        }
        for Rule { whence, users, groups, allow, deny } in &made.rules {
            self.document.blank();
            self.document.comment(format!("{place}: {whence}"));
            self.document.array("brokers.home.access");
            for (key, names) in [("users", users), ("groups", groups)] {
                if !names.is_empty() {
                    self.document.key(key, Toml::Texts(names.clone()), "");
                }
            }
            for (key, topics) in [("allow", allow), ("deny", deny)] {
                if !topics.is_empty() {
                    self.document.key(key, table(topics), "");
                }
            }
        }
    }
}

fn table(topics: &Topics) -> Toml {
    let Topics { publish, subscribe, receive } = topics;
    let lists = [("publish", publish), ("subscribe", subscribe), ("receive", receive)].into_iter();
    let said = lists.filter(|(_, filters)| !filters.is_empty());
    Toml::Table(said.map(|(key, filters)| (key, Toml::Texts(filters.clone()))).collect())
}
