//! What mosquitto's dynamic-security plugin lets, and what Tidegate's own broker lets by what was imported of its file.

mod by_chance;
mod told;

use super::{import, written};
use crate::fixture::Dice;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::process::Command;
use std::time::Duration;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, Version, free_port};

/// Where Debian puts it: in a folder of its architecture.
fn plugin() -> String {
    let mut folders = std::fs::read_dir("/usr/lib").expect("/usr/lib").flatten().map(|folder| folder.path());
    let file =
        folders.find_map(|folder| Some(folder.join("mosquitto_dynamic_security.so")).filter(|file| file.exists()));
    file.expect("the plugin of Debian's mosquitto, in /usr/lib/*").display().to_string()
}

/// Who may everything, and sees what was taken.
const JUDGE: &str = "judge";

/// Topics that begin with `$`, beside those of the broker itself.
const TREE: &str = "$p/#";

const TOPICS: [&str; 11] = ["a", "a/b", "a/b/c", "a/b d", "a/", "b", "b/c", "/a", "x/y/c", "x", "$p/a"];

const ASKED: [&str; 12] = ["#", "a/#", "a/+", "a/b", "a", "+/b", "+", "+/#", "b/c", "x/#", "$p/#", "$p/a"];

/// Passwords of users, which are their names, as the plugin writes them.
struct Known(HashMap<String, (String, String)>);

impl Known {
    fn of(users: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("users");
        std::fs::write(&file, "").expect("written");
        let hashed = |user: &&str| {
            let status = Command::new("mosquitto_passwd").arg("-b").arg(&file).args([*user, *user]).status();
            assert!(status.expect("mosquitto_passwd (Debian: mosquitto)").success());
            let lines = std::fs::read_to_string(&file).expect("written");
            let parts: Vec<&str> = lines.lines().last().expect("a line").split('$').collect();
            let [_, "7", "101", salt, hash] = parts[..] else { panic!("{parts:?}") };
            ((*user).to_owned(), (salt.to_owned(), hash.to_owned()))
        };
        Self(users.iter().map(hashed).collect())
    }

    /// A client with its password.
    fn client(&self, user: &str, roles: Value) -> Value {
        let (salt, hash) = &self.0[user];
        json!({ "username": user, "roles": roles, "password": hash, "salt": salt, "iterations": 101 })
    }

    /// The one that a user comes with.
    fn client_id(user: &str) -> String {
        format!("of {user}")
    }
}

/// Both brokers, and what the import told.
struct Pair {
    mosquitto: Mosquitto,
    tidegate: Tidegate,
    port: u16,
    told: String,
}

impl Pair {
    #[track_caller]
    fn start(file: &Value, lets_anybody_in: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let json = dir.path().join("dynamic-security.json");
        std::fs::write(&json, file.to_string()).expect("written");
        let plugin = format!(
            "allow_anonymous {lets_anybody_in}\nplugin {}\nplugin_opt_config_file {}",
            plugin(),
            json.display()
        );
        let (port, out) = (free_port(), dir.path().join("gateway.toml"));
        let conf = written(dir.path(), &format!("{plugin}\nlistener {port} 127.0.0.1\n"));
        let output = import(&conf, &["--own", "--out", out.to_str().expect("a path")]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}\n{file:#}");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("written");
        let toml = read("gateway.toml").replace(super::DATA_DIR, "\"{dir}/data\"");
        let tidegate = Tidegate::builder(&toml).file("home-users.txt", read("home-users.txt")).start();
        // mosquitto 2.0.11 without that limit falls out with a client as soon as it denies it a message.
        let mosquitto = Mosquitto::builder().line(&plugin).line("max_queued_messages 1000").start();
        Self { mosquitto, tidegate, port, told }
    }

    /// mosquitto's first.
    fn ports(&self) -> [u16; 2] {
        [self.mosquitto.port(), self.port]
    }

    /// What was written and told, for who reads of a difference.
    fn shown(&self, file: &Value) -> String {
        let toml = std::fs::read_to_string(self.tidegate.dir().join("tidegate.toml")).unwrap_or_default();
        let rules = toml.split_once("[brokers.home.limits]").map_or(&*toml, |(_, rules)| rules);
        format!("by\n{file:#}\nmade into\n{rules}\nand told\n{}", self.told)
    }
}

fn options(user: &str) -> ClientOptions {
    ClientOptions::new(Version::V5, &Known::client_id(user)).login(user, user)
}

/// `None`: it is not let in.
#[track_caller]
fn connect(port: u16, options: &ClientOptions) -> Option<Client> {
    match Client::connect(port, options) {
        Ok(client) => Some(client),
        Err(error) => {
            let is_refusal = [ErrorKind::ConnectionRefused, ErrorKind::UnexpectedEof].contains(&error.kind());
            assert!(is_refusal, "{error}");
            None
        }
    }
}

/// All that has come, after an answer to something that has no effect.
fn drain(client: &mut Client) -> io::Result<Vec<(String, String)>> {
    client.unsubscribe(&["nothing"])?;
    let mut all = Vec::new();
    while let Some(received) = client.receive(Duration::ZERO)? {
        all.push((received.topic, String::from_utf8_lossy(&received.payload).into_owned()));
    }
    Ok(all)
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum May {
    ComeIn,
    /// Be given this, kept or new, for this filter.
    Hear(&'static str, String, String),
    Publish(&'static str),
    /// What the broker keeps of it after all have published.
    BeKept(String),
}

/// What each of these may at a broker.
fn found(port: u16, users: &[&str]) -> io::Result<BTreeSet<(String, May)>> {
    let mut all = BTreeSet::new();
    let mut judge = Client::connect(port, &options(JUDGE))?;
    for topic in TOPICS {
        judge.publish(topic, b"kept", 1, true)?;
    }
    let let_in = |user: &&&str| connect(port, &options(user)).is_some();
    let users: Vec<&str> = users.iter().filter(let_in).copied().collect();
    all.extend(users.iter().map(|user| ((*user).to_owned(), May::ComeIn)));
    for filter in ASKED {
        let mut clients = Vec::new();
        for user in &users {
            let mut client = Client::connect(port, &options(user))?;
            client.subscribe(&[(filter, 0)])?;
            clients.push((*user, client));
        }
        for topic in TOPICS {
            judge.publish(topic, b"new", 1, false)?;
        }
        for (user, client) in &mut clients {
            let heard = drain(client)?.into_iter();
            all.extend(heard.map(|(topic, payload)| ((*user).to_owned(), May::Hear(filter, topic, payload))));
        }
    }
    let mut judge = Client::connect(port, &options(JUDGE))?;
    judge.subscribe(&[("#", 1), (TREE, 1)])?;
    drain(&mut judge)?;
    for user in &users {
        let mut client = Client::connect(port, &options(user))?;
        for topic in TOPICS {
            client.publish(topic, user.as_bytes(), 0, true)?;
        }
        drain(&mut client)?;
        for (topic, payload) in drain(&mut judge)? {
            assert_eq!(payload, *user, "{topic}");
            let topic = TOPICS.into_iter().find(|one| *one == topic).expect("one that was published to");
            all.insert(((*user).to_owned(), May::Publish(topic)));
        }
    }
    let mut judge = Client::connect(port, &options(JUDGE))?;
    judge.subscribe(&[("#", 1), (TREE, 1)])?;
    all.extend(drain(&mut judge)?.into_iter().map(|(topic, payload)| (payload, May::BeKept(topic))));
    Ok(all)
}

/// Of whom the import told that it is otherwise.
#[derive(Default)]
struct Told {
    /// They may less.
    less: BTreeSet<String>,
    /// They may hear more.
    more: BTreeSet<String>,
}

impl Told {
    fn of(told: &str, file: &Value) -> Self {
        let mut found = Self::default();
        for line in told.lines() {
            let roles = line.split("role `").skip(1).filter_map(|rest| rest.split('`').next());
            let roles: Vec<&str> = roles.collect();
            let holders = by_chance::USERS.iter().filter(|user| roles.iter().all(|role| has(file, user, role)));
            let holders = holders.map(|user| (*user).to_owned());
            if line.contains("here what denies comes first") {
                found.less.extend(holders);
            } else if line.contains("`subscribeLiteral` of role") {
                found.more.extend(holders);
            }
        }
        found
    }
}

/// Whether a user has a role, by itself or by a group.
fn has(file: &Value, user: &str, role: &str) -> bool {
    let entries = |of: &str| file[of].as_array().cloned().unwrap_or_default().into_iter();
    let names = |one: &Value, list: &str, key: &str, name: &str| {
        one[list].as_array().is_some_and(|list| list.iter().any(|entry| entry[key] == name))
    };
    let by_itself = entries("clients").any(|one| one["username"] == user && names(&one, "roles", "rolename", role));
    let in_group = |one: Value| names(&one, "clients", "username", user) && names(&one, "roles", "rolename", role);
    by_itself || entries("groups").any(in_group)
}

/// 20 files; for each 5 users, 11 topics to publish to, and 12 filters that are asked for, with what is kept and what is new.
#[test]
fn roles_mean_to_us_what_they_mean_to_mosquitto() {
    let mut dice = Dice::new();
    let users = by_chance::USERS;
    let known = Known::of(&[&users[..], &[JUDGE]].concat());
    let (mut compared, mut told_of, mut differ, mut done) = (0, 0, 0, 0);
    for number in 0..20 {
        let (file, lets_anybody_in) = by_chance::file(&mut dice, &known);
        let pair = Pair::start(&file, lets_anybody_in);
        let wrong =
            |what: &str| -> String { format!("seed {}, file {number}: {what} {}", dice.seed, pair.shown(&file)) };
        let [theirs, ours] = pair
            .ports()
            .map(|port| found(port, &users).unwrap_or_else(|error| panic!("{}", wrong(&error.to_string()))));
        let told = Told::of(&pair.told, &file);
        let differences: Vec<_> = theirs.symmetric_difference(&ours).collect();
        // Who has published last depends on all.
        let is_told = |(user, may): &(String, May)| {
            let is_more = ours.contains(&(user.clone(), may.clone()));
            let of = if is_more { &told.more } else { &told.less };
            match may {
                May::ComeIn => false,
                May::Publish(_) => !is_more && of.contains(user),
                May::Hear(..) => of.contains(user),
                May::BeKept(_) => !told.less.is_empty(),
            }
        };
        let untold: Vec<_> = differences.iter().filter(|one| !is_told(one)).collect();
        assert!(untold.is_empty(), "{}", wrong(&format!("{} are mosquitto's, and otherwise {untold:?}", theirs.len())));
        differ += differences.len();
        done += theirs.len();
        let of_these = users.iter().filter(|user| told.less.contains(**user) || told.more.contains(**user)).count();
        (compared, told_of) = (compared + users.len() - of_these, told_of + of_these);
        let nobody = ClientOptions::new(Version::V5, "nobody");
        let let_in = pair.ports().map(|port| connect(port, &nobody).is_some());
        assert_eq!(let_in, [lets_anybody_in, false], "{}", wrong("who gives no name"));
        assert_eq!(pair.told.contains("allow_anonymous true beside the plugin"), lets_anybody_in, "{}", wrong("of it"));
        assert_eq!(pair.told.contains("the group of those who give no name"), file["anonymousGroup"].is_string());
    }
    let seed = dice.seed;
    println!(
        "seed {seed}: {compared} users compared, who did {done} things, and {told_of} told of, with {differ} differences"
    );
    assert!(compared > 50 && done > 500, "seed {seed}: {compared} users compared, who did {done} things");
}
