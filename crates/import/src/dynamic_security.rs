//! What mosquitto's dynamic-security plugin keeps in its file of JSON: clients with their passwords, groups, and roles with what they may.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_message::TopicFilter;

/// What becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DynamicSecurity {
    /// A user file.
    pub(crate) users: Vec<String>,
    /// Users by groups.
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    pub(crate) rules: Vec<Rule>,
    /// What has no counterpart, and what to do instead.
    pub(crate) lost: Vec<(String, String)>,
    /// What is otherwise than it was.
    pub(crate) remarks: Vec<String>,
}

/// What some may and may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Where it comes from.
    pub(crate) whence: String,
    /// Neither these nor groups: everybody.
    pub(crate) users: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) allow: Topics,
    pub(crate) deny: Topics,
}

/// Filters by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topics {
    pub(crate) publish: Vec<String>,
    pub(crate) subscribe: Vec<String>,
    pub(crate) receive: Vec<String>,
}

impl Topics {
    pub(crate) fn is_empty(&self) -> bool {
        self.publish.is_empty() && self.subscribe.is_empty() && self.receive.is_empty()
    }

    fn of(&mut self, action: Action) -> &mut Vec<String> {
        match action {
            Action::Publish => &mut self.publish,
            Action::Subscribe => &mut self.subscribe,
            Action::Receive => &mut self.receive,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    #[serde(rename = "defaultACLAccess")]
    defaults: Defaults,
    #[serde(rename = "anonymousGroup")]
    anonymous_group: Option<String>,
    clients: Vec<Client>,
    groups: Vec<Group>,
    roles: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Defaults {
    #[serde(rename = "publishClientSend")]
    publish: bool,
    #[serde(rename = "publishClientReceive")]
    receive: bool,
    subscribe: bool,
}

/// As the plugin has it.
impl Default for Defaults {
    fn default() -> Self {
        Self { publish: false, receive: true, subscribe: false }
    }
}

#[derive(Deserialize)]
struct Client {
    username: String,
    clientid: Option<String>,
    /// In base64, as the salt.
    password: Option<String>,
    salt: Option<String>,
    iterations: Option<u32>,
    /// Of 2.1, in place of the three: as in a password file.
    encoded_password: Option<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    roles: Vec<Has>,
}

#[derive(Deserialize)]
struct Group {
    groupname: String,
    #[serde(default)]
    clients: Vec<Member>,
    #[serde(default)]
    roles: Vec<Has>,
}

#[derive(Deserialize)]
struct Member {
    username: String,
}

#[derive(Deserialize)]
struct Has {
    rolename: String,
}

#[derive(Deserialize)]
struct Role {
    rolename: String,
    #[serde(default)]
    acls: Vec<Acl>,
}

#[derive(Deserialize)]
struct Acl {
    acltype: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    allow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Publish,
    Subscribe,
    Receive,
}

/// Topics that begin with `$`, beside all others.
const EVERYTHING: [&str; 2] = ["#", "$SYS/#"];

/// Where the plugin itself is talked to.
const CONTROL: &str = "$CONTROL/";

/// Reads the file.
///
/// # Errors
/// It is none of the plugin's, and where.
pub(crate) fn read(text: &str) -> Result<DynamicSecurity, String> {
    // A password may stand where it is wrong: only the place is told.
    let wrong = |line: usize| format!("line {line} of it is not as the plugin writes it");
    if !text.trim_start().starts_with('{') {
        return Err(wrong(1));
    }
    let file: File = serde_json::from_str(text).map_err(|error| wrong(error.line()))?;
    let mut made = DynamicSecurity::default();
    made.users(&file);
    made.groups(&file);
    for role in &file.roles {
        made.role(role, &file);
    }
    made.defaults(&file.defaults);
    if let Some(group) = &file.anonymous_group {
        made.lose(
            format!("`{group}` is the group of those who give no name"),
            "with `users` nobody comes in without a name and a password",
        );
    }
    Ok(made)
}

impl DynamicSecurity {
    fn lose(&mut self, what: impl Into<String>, instead: &str) {
        self.lost.push((what.into(), instead.to_owned()));
    }

    fn users(&mut self, file: &File) {
        for client in &file.clients {
            let name = &client.username;
            if client.disabled {
                self.remarks.push(format!("`{name}` is disabled, and left out of the users"));
                continue;
            }
            if name.contains([':', '\n', '\r']) || name.is_empty() {
                self.lose(format!("`{name}` as a user"), "give it a name without a colon");
                continue;
            }
            if let Some(id) = client.clientid.as_ref().filter(|id| !id.is_empty()) {
                let instead =
                    "it comes in with any client identifier; a rule of its own with `client_ids` holds it to one";
                self.lose(format!("`{name}` may come in as `{id}` only"), instead);
            }
            let hash = match (&client.encoded_password, &client.password, &client.salt, client.iterations) {
                (Some(encoded), ..) => Some(encoded.clone()),
                (None, Some(hash), Some(salt), Some(iterations)) => Some(format!("$7${iterations}${salt}${hash}")),
                _ => None,
            };
            match hash {
                Some(hash) => self.users.push(format!("{name}:{hash}")),
                None => self.remarks.push(format!("`{name}` has no password, and is left out of the users")),
            }
        }
    }

    fn groups(&mut self, file: &File) {
        for group in file.groups.iter().filter(|group| !group.roles.is_empty()) {
            let users: BTreeSet<&String> = group.clients.iter().map(|member| &member.username).collect();
            self.groups.insert(group.groupname.clone(), users.into_iter().cloned().collect());
        }
    }

    fn role(&mut self, role: &Role, file: &File) {
        let name = &role.rolename;
        let has = |roles: &[Has]| roles.iter().any(|has| has.rolename == *name);
        let users: Vec<String> =
            file.clients.iter().filter(|client| has(&client.roles)).map(|client| client.username.clone()).collect();
        let groups: Vec<String> =
            file.groups.iter().filter(|group| has(&group.roles)).map(|group| group.groupname.clone()).collect();
        if users.is_empty() && groups.is_empty() {
            self.remarks.push(format!("nobody has the role `{name}`, and it is left out"));
            return;
        }
        let mut rule = Rule { whence: format!("role {name}"), users, groups, ..Rule::default() };
        let mut taken: Vec<(Action, TopicFilter, &Acl)> = Vec::new();
        for acl in &role.acls {
            let Some((action, filter)) = self.acl(name, acl) else { continue };
            let of = if acl.allow { &mut rule.allow } else { &mut rule.deny };
            if !of.of(action).contains(&acl.topic) {
                of.of(action).push(acl.topic.clone());
            }
            taken.push((action, filter, acl));
        }
        let is_overruled = |(action, filter, denied): &&(Action, TopicFilter, &Acl)| {
            let before = |(also, other, allowed): &(Action, TopicFilter, &Acl)| {
                allowed.allow && also == action && allowed.priority > denied.priority && other.overlaps(filter)
            };
            !denied.allow && taken.iter().any(before)
        };
        if let Some((_, _, denied)) = taken.iter().find(is_overruled) {
            self.remarks.push(format!(
                "role `{name}` allows a part of what it denies at `{}`, with a higher priority; here what denies comes first",
                denied.topic
            ));
        }
        if !(rule.allow.is_empty() && rule.deny.is_empty()) {
            self.rules.push(rule);
        }
    }

    /// What an entry of a role is about; `None`: nothing, and that is said.
    fn acl(&mut self, role: &str, acl: &Acl) -> Option<(Action, TopicFilter)> {
        let topic = &acl.topic;
        let what = || format!("`{}` of role `{role}` on `{topic}`", acl.acltype);
        let action = match acl.acltype.as_str() {
            "publishClientSend" => Action::Publish,
            "publishClientReceive" => Action::Receive,
            "subscribeLiteral" if !acl.allow && topic.contains(['+', '#']) => {
                let instead = "a filter is refused where nothing of it may be received; what is denied for `receive` is not handed out";
                self.lose(what(), instead);
                return None;
            }
            "subscribeLiteral" | "subscribePattern" => Action::Subscribe,
            "unsubscribeLiteral" | "unsubscribePattern" if acl.allow => return None,
            "unsubscribeLiteral" | "unsubscribePattern" => {
                self.lose(what(), "whoever has subscribed may end it");
                return None;
            }
            _ => {
                self.lose(what(), "it is not known what it is about");
                return None;
            }
        };
        if topic.starts_with(CONTROL) {
            let words =
                "nothing is at $CONTROL here: users and lists are files, and hold as soon as they are saved".to_owned();
            if !self.remarks.contains(&words) {
                self.remarks.push(words);
            }
            return None;
        }
        let is_part = |level: &str| (level.contains("%u") || level.contains("%c")) && !["%u", "%c"].contains(&level);
        match TopicFilter::new(topic.as_str()) {
            Ok(filter) if filter.share().is_none() && !topic.split('/').any(is_part) => Some((action, filter)),
            _ => {
                self.lose(what(), "a pattern is a topic filter, in which `%u` and `%c` are whole levels");
                None
            }
        }
    }

    /// What holds where no role speaks.
    fn defaults(&mut self, defaults: &Defaults) {
        let everything = |is: bool| if is { EVERYTHING.map(str::to_owned).to_vec() } else { Vec::new() };
        let allow = Topics {
            publish: everything(defaults.publish),
            subscribe: everything(defaults.subscribe),
            receive: everything(defaults.receive),
        };
        if !defaults.receive && self.rules.iter().any(|rule| !rule.allow.subscribe.is_empty()) {
            self.remarks.push(
                "who is allowed to subscribe and is not told what it may receive may receive that here, whatever the default is"
                    .to_owned(),
            );
        }
        if !allow.is_empty() {
            self.rules.push(Rule { whence: "defaultACLAccess".to_owned(), allow, ..Rule::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_denies_all_but_what_comes() {
        let made = read("{}").unwrap();
        assert_eq!(made.rules.len(), 1);
        assert_eq!(made.rules[0].allow.receive, EVERYTHING);
        assert!(made.rules[0].allow.publish.is_empty() && made.users.is_empty());
    }

    #[test]
    fn what_is_no_file_of_the_plugin_says_where_and_shows_nothing_of_it() {
        for text in ["", "[]", "{\"clients\": [{\"password\": \"geheim\"}]}", "{\"clients\":\n \"geheim\"}"] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("line ") && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn priorities_that_cannot_be_kept_are_told() {
        let role = |allow: i64| {
            format!(
                r##"{{"clients":[{{"username":"u","roles":[{{"rolename":"r"}}]}}],"roles":[{{"rolename":"r","acls":[
                {{"acltype":"publishClientSend","topic":"a/#","priority":0,"allow":false}},
                {{"acltype":"publishClientSend","topic":"a/b","priority":{allow},"allow":true}},
                {{"acltype":"publishClientReceive","topic":"a/b","priority":9,"allow":true}}]}}]}}"##
            )
        };
        let told = |allow| read(&role(allow)).unwrap().remarks.iter().any(|words| words.contains("higher priority"));
        assert!(told(1) && !told(-1) && !told(0));
    }
}
