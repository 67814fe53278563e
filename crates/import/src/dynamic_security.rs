//! What mosquitto's dynamic-security plugin keeps in its file of JSON: clients with their passwords, groups, and roles with what they may.

mod order;
mod roles;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

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

/// What is not said is denied.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Defaults {
    #[serde(rename = "publishClientSend")]
    publish: bool,
    #[serde(rename = "publishClientReceive")]
    receive: bool,
    subscribe: bool,
    unsubscribe: bool,
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
    #[serde(default = "unranked")]
    priority: i64,
}

#[derive(Deserialize)]
struct Has {
    rolename: String,
    #[serde(default = "unranked")]
    priority: i64,
}

/// The priority of a role or a group that has none.
fn unranked() -> i64 {
    -1
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

impl Client {
    /// Whether it can come in with its password.
    fn hash(&self) -> Option<String> {
        match (&self.encoded_password, &self.password, &self.salt, self.iterations) {
            (Some(encoded), ..) => Some(encoded.clone()),
            (None, Some(hash), Some(salt), Some(iterations)) => Some(format!("$7${iterations}${salt}${hash}")),
            _ => None,
        }
    }

    /// Whether the plugin takes what it says of a password: if not, it does not know the client at all.
    fn is_sound(&self) -> bool {
        match (&self.password, &self.salt, self.iterations) {
            (Some(hash), Some(salt), Some(iterations)) if self.encoded_password.is_none() => {
                (1..=ITERATIONS_MAX).contains(&iterations)
                    && base64_bytes(hash) == Some(HASH_BYTES)
                    && base64_bytes(salt).is_some_and(|of| of > 0)
            }
            _ => true,
        }
    }
}

/// More take minutes for each connection, and are refused.
const ITERATIONS_MAX: u32 = 10_000_000;

/// Of SHA-512.
const HASH_BYTES: usize = 64;

/// How many bytes a text in base64 is; `None`: it is none.
fn base64_bytes(text: &str) -> Option<usize> {
    STANDARD.decode(text).ok().map(|bytes| bytes.len())
}

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
    made.roles(&file);
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
            if name.contains([':', '\n', '\r']) || name.starts_with('#') || name.is_empty() {
                self.lose(format!("`{name}` as a user"), "give it a name without a colon, and no `#` in front");
                continue;
            }
            if let Some(id) = &client.clientid {
                let instead =
                    "it comes in with any client identifier; a rule of its own with `client_ids` holds it to one";
                self.lose(format!("`{name}` may come in as `{id}` only"), instead);
            }
            match client.hash() {
                Some(_) if !client.is_sound() => {
                    self.remarks
                        .push(format!("`{name}` has a password that cannot be read, and is left out of the users"));
                }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_lets_nobody_do_anything() {
        let made = read("{}").unwrap();
        // Without any rule everybody might do everything.
        assert_eq!(made.rules.len(), 1);
        assert!(made.rules[0].allow.is_empty() && !made.rules[0].deny.is_empty() && made.users.is_empty());
    }

    #[test]
    fn what_is_no_file_of_the_plugin_says_where_and_shows_nothing_of_it() {
        for text in ["", "[]", "{\"clients\": [{\"password\": \"geheim\"}]}", "{\"clients\":\n \"geheim\"}"] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("line ") && !error.contains("geheim"), "{error}");
        }
    }

    /// `ann` has `r`, and by her group `s`.
    fn of_roles(defaults: &str, r: &str, s: &str) -> DynamicSecurity {
        let role = |name: &str, acls: &str| {
            let acls: Vec<String> = acls
                .split_terminator(',')
                .map(|acl| {
                    let [allow, kind, topic, priority] = acl.split(' ').collect::<Vec<_>>()[..] else {
                        panic!("{acl}")
                    };
                    let allow = allow == "allow";
                    format!(r##"{{"acltype":"{kind}","topic":"{topic}","priority":{priority},"allow":{allow}}}"##)
                })
                .collect();
            format!(r##"{{"rolename":"{name}","acls":[{}]}}"##, acls.join(","))
        };
        read(&format!(
            r##"{{"defaultACLAccess":{{"unsubscribe":true{defaults}}},"roles":[{},{}],
            "clients":[{{"username":"ann","roles":[{{"rolename":"r","priority":1}}]}}],
            "groups":[{{"groupname":"g","roles":[{{"rolename":"s","priority":9}}],"clients":[{{"username":"ann"}}]}}]}}"##,
            role("r", r),
            role("s", s)
        ))
        .unwrap()
    }

    #[test]
    fn an_order_that_cannot_be_kept_is_told() {
        let told = |r: &str, s: &str| {
            let remarks = of_roles("", r, s).remarks;
            remarks.iter().filter(|words| words.contains("denies comes first")).cloned().collect::<Vec<_>>().join("\n")
        };
        let deny = "deny publishClientSend a/# 0";
        let within = |priority| told(&format!("{deny},allow publishClientSend a/b {priority}"), "");
        assert_eq!(within(1), "role `r` allows `a/b` before it denies `a/#`: here what denies comes first");
        assert_eq!((within(0), within(-1)), (String::new(), String::new()));
        // Roles of her own come before those of groups, whatever the priorities are.
        let between = told("allow publishClientSend a/b 0", deny);
        assert_eq!(
            between,
            "role `r` allows `a/b` before role `s` denies `a/#`, for `ann`: here what denies comes first"
        );
        assert_eq!(told(deny, "allow publishClientSend a/b 9"), "");
        assert_eq!(told("allow publishClientReceive a/b 9", deny), "", "about something else");
        // Literal filters before patterns.
        assert_ne!(told("deny subscribePattern a/# 5,allow subscribeLiteral a/b 0", ""), "");
        assert_eq!(told("allow subscribePattern a/# 5,deny subscribeLiteral a/b 0", ""), "");
        assert_eq!(told("allow subscribeLiteral a/# 5,deny subscribePattern a/b 0", ""), "");
        // What is allowed whole before it is denied.
        let made = of_roles("", "allow publishClientSend a/# 1,deny publishClientSend a/b 0", "");
        assert!(made.rules[0].deny.is_empty() && made.remarks.iter().any(|words| words.contains("no effect")));
    }

    #[test]
    fn who_may_not_subscribe_gets_nothing_and_who_may_gets_what_the_default_lets() {
        let (subscribe, receive) = ("allow subscribePattern a/# 0", "allow publishClientReceive a/# 0");
        let says = |defaults: &str, r: &str| {
            let rules = of_roles(defaults, r, "").rules;
            let lists = |topics: &Topics| format!("{:?}{:?}", topics.subscribe, topics.receive);
            rules.iter().map(|rule| format!("{}-{} ", lists(&rule.allow), lists(&rule.deny))).collect::<String>()
        };
        let nothing = "[][]-[][\"#\", \"$SYS/#\"] ";
        let receives = ",\"publishClientReceive\":true";
        // Alone, in our lists, to receive is to subscribe, and to subscribe is to receive.
        assert_eq!(says(receives, receive), nothing);
        assert_eq!(says(receives, &format!("{receive},{subscribe}")), "[\"a/#\"][]-[][] ");
        assert_eq!(says("", &format!("{receive},{subscribe}")), "[\"a/#\"][\"a/#\"]-[][] ");
        assert_eq!(says("", subscribe), format!("[\"a/#\"][]-[][] {nothing}"));
        assert_eq!(says("", receive), format!("[][\"a/#\"]-[][] {nothing}"));
        assert_eq!(says(",\"subscribe\":true", receive), "[][\"a/#\"]-[][] ");
        assert_eq!(says(",\"subscribe\":true", subscribe), nothing);
        let both = format!("{receives},\"subscribe\":true");
        assert_eq!(says(&both, ""), "[][\"#\", \"$SYS/#\"]-[][] ");
        // A pattern for subscribing is about `$SYS`, too, and about other such topics that are known.
        let all = "allow subscribePattern # 0,allow publishClientSend $p/x 0";
        assert_eq!(says(receives, all), "[\"#\", \"$SYS/#\", \"$p/#\"][]-[][] ");
    }

    #[test]
    fn a_password_that_cannot_be_read_is_left_out() {
        let hash = |signs: usize, end: &str| format!("{}{end}", "A".repeat(signs));
        for (hash, salt, iterations, is_in) in [
            (hash(86, "=="), "QUJD", 101, true),
            (hash(85, "B=="), "QUJD", 101, false),
            (hash(84, ""), "QUJD", 101, false),
            (hash(86, "=="), "QU-D", 101, false),
            (hash(86, "=="), "QUJ", 101, false),
            (hash(86, "=="), "QUJD", 0, false),
        ] {
            let client = format!(
                r##"{{"username":"u","password":"{hash}","salt":"{salt}","iterations":{iterations},"roles":[]}}"##
            );
            let made = read(&format!(r##"{{"clients":[{client}]}}"##)).unwrap();
            assert_eq!(made.users.len(), usize::from(is_in), "{client}");
            assert_eq!(made.remarks.iter().any(|words| words.contains("cannot be read")), !is_in, "{client}");
        }
    }
}
