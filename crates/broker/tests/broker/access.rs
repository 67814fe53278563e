use crate::device::{Device, PATIENCE, Server, anonymous, config, filter, lasting, message, retained, with};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tidegate_broker::{Access, Settings, Users, parse_acl_file};
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, ReasonCode, Version, Will};

fn access(acl_file: &str) -> Option<Access> {
    Some(Access::new(parse_acl_file(acl_file, "acl").unwrap()))
}

fn listed(acl_file: &str) -> Settings {
    Settings { access: access(acl_file), ..anonymous() }
}

fn at_least_once(topic: &str, payload: &str) -> tidegate_message::Message {
    message(topic, payload, QoS::AtLeastOnce)
}

#[test]
fn what_a_client_may_not_publish_is_refused_and_goes_nowhere() {
    with(listed("topic write up/#\ntopic read down/#\n"), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut device = server.device("d").await;
        assert_eq!(device.publish(at_least_once("down/1", "no")).await, ReasonCode::NOT_AUTHORIZED);
        device.send(message("down/1", "nor this", QoS::AtMostOnce)).await;
        device.publish(message("down/1", "nor this", QoS::ExactlyOnce)).await;
        // In 3.1.1 there is no word for it (section 3.3.5): it is acknowledged, and goes nowhere.
        let mut old = server.device_311("old").await;
        assert_eq!(old.publish(at_least_once("other", "no")).await, ReasonCode::SUCCESS);
        device.send(message("up/1", "yes", QoS::AtMostOnce)).await;
        let came = gateway.next().await;
        assert_eq!((came.message.topic.as_str(), &came.message.payload[..]), ("up/1", &b"yes"[..]));
        assert!(gateway.try_next().is_none());
        assert_eq!(server.broker.stats().dropped.forbidden, 4);
    });
}

#[test]
fn a_filter_of_which_nothing_could_come_is_refused_and_of_another_only_what_may_comes() {
    with(listed("topic read down/+/public\n"), |server| async move {
        let gateway = server.gateway(&[]);
        gateway.local.publish(retained("down/1/public", "kept", QoS::AtLeastOnce));
        gateway.local.publish(retained("down/1/secret", "kept", QoS::AtLeastOnce));
        for version in [Version::V5, Version::V311] {
            let mut device = Device::connect(server.addr, config("d", version)).await;
            let asked = ["up/#", "down/1/secret", "#"].map(|text| filter(text, QoS::AtLeastOnce));
            let codes = device.subscribe_with(&asked).await;
            // In 3.1.1 a failure is all that can be said (section 3.9.3).
            let refused = if version == Version::V5 { ReasonCode::NOT_AUTHORIZED } else { ReasonCode(0x80) };
            assert_eq!(codes, [refused, refused, ReasonCode(1)]);
            gateway.local.publish(at_least_once("down/2/secret", "x"));
            gateway.local.publish(at_least_once("down/2/public", "y"));
            let topics: Vec<_> = device.drain().await.iter().map(|one| one.topic.to_string()).collect();
            assert_eq!(topics, ["down/1/public", "down/2/public"], "{version}");
        }
        // Kept ones and new ones, for each of the two.
        assert_eq!(server.broker.stats().dropped.not_permitted, 4);
    });
}

#[test]
fn of_a_group_only_those_get_a_message_who_may() {
    let list = "pattern read t/%c\npattern read all\n";
    with(listed(list), |server| async move {
        let gateway = server.gateway(&[]);
        let mut devices = Vec::new();
        for id in ["a", "b"] {
            let mut device = server.device(id).await;
            device.subscribe("$share/g/#", QoS::AtLeastOnce).await;
            devices.push(device);
        }
        for n in 0..10 {
            gateway.local.publish(at_least_once("t/b", &n.to_string()));
        }
        gateway.local.publish(at_least_once("t/nobody", "x"));
        assert!(devices[0].drain().await.is_empty());
        assert_eq!(devices[1].drain().await.len(), 10);
        assert_eq!(server.broker.stats().dropped.not_permitted, 1);
    });
}

#[test]
fn a_will_where_its_client_may_not_publish_is_refused_at_once_and_at_its_time() {
    with(listed("topic write ok\n"), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let with_will = |topic: &str| ClientConfig {
            will: Some(Will { message: at_least_once(topic, "gone"), delay_s: 0 }),
            ..config("d", Version::V5)
        };
        let refused = Device::try_connect(server.addr, with_will("other")).await.err();
        assert_eq!(refused, Some(ReasonCode::NOT_AUTHORIZED));
        Device::connect(server.addr, with_will("ok")).await.vanish();
        assert_eq!(gateway.next().await.message.topic.as_str(), "ok");
        // What it might when it connected it may not any more.
        let device = Device::connect(server.addr, with_will("ok")).await;
        server.broker.reconfigure(listed("topic read ok\n"));
        device.vanish();
        server.until(|stats| stats.dropped.forbidden == 1).await;
        assert!(gateway.try_next().is_none());
    });
}

#[test]
fn other_lists_hold_at_once_for_who_is_connected_and_for_what_waits() {
    with(listed("topic readwrite #\n"), |server| async move {
        let gateway = server.gateway(&[]);
        let mut away = Device::connect(server.addr, lasting("away", Version::V5)).await;
        away.subscribe("#", QoS::AtLeastOnce).await;
        let session = away.goodbye().await;
        let mut here = server.device("here").await;
        here.subscribe("#", QoS::AtLeastOnce).await;
        gateway.local.publish(at_least_once("secret", "1"));
        gateway.local.publish(at_least_once("open", "1"));
        assert_eq!(here.drain().await.len(), 2);
        server.broker.reconfigure(listed("topic read open\n"));
        assert_eq!(here.publish(at_least_once("open", "mine")).await, ReasonCode::NOT_AUTHORIZED);
        gateway.local.publish(at_least_once("secret", "2"));
        gateway.local.publish(at_least_once("open", "2"));
        let topics = |came: Vec<tidegate_message::Message>| -> Vec<String> {
            came.iter().map(|one| one.topic.to_string()).collect()
        };
        assert_eq!(topics(here.drain().await), ["open"]);
        let resumed = Device::resume(server.addr, lasting("away", Version::V5), session).await;
        let (mut away, connected) = resumed.unwrap();
        assert!(connected.session_present);
        assert_eq!(topics(away.drain().await), ["open", "open"]);
        server.broker.reconfigure(anonymous());
        gateway.local.publish(at_least_once("secret", "3"));
        assert_eq!(topics(here.drain().await), ["secret"], "no lists, no bounds");
    });
}

// ---- mosquitto as the judge ----

/// Killed when the test ends.
struct Judge(Child, SocketAddr);

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Judge {
    /// mosquitto with these files.
    async fn start(dir: &Path, users: &Path, acl_file: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (users, acl_file) = (users.display(), acl_file.display());
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npassword_file {users}\nacl_file {acl_file}\nuser root\n"
        );
        let file = dir.join("mosquitto.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("/usr/sbin/mosquitto");
        let child = command.arg("-c").arg(&file).stderr(Stdio::null()).spawn().expect("mosquitto (Debian: mosquitto)");
        let judge = Self(child, SocketAddr::from(([127, 0, 0, 1], port)));
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(judge.1).await.is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not start");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        judge
    }
}

/// Numbers that are the same each time (Lehmer, 1951; the multiplier of Park and Miller).
struct Dice(u64);

impl Dice {
    fn of(&mut self, count: usize) -> usize {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        (self.0 % count as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.of(of.len())]
    }
}

const TOPICS: [&str; 9] = ["a", "a/b", "a/ann", "a/c1", "a/b/c", "x/ann/y", "x/c2/y", "$p/a", "a/b d"];
const FILTERS: [&str; 14] =
    ["#", "a/#", "a/+", "a", "+/b", "a/b/#", "x/%u/y", "x/%c/y", "a/%u", "a/%c", "$p/#", "+/+/y", "a/b d", "/a"];
/// By name, password and client identifier.
const CLIENTS: [(Option<&str>, &str); 5] =
    [(Some("ann"), "c1"), (Some("bob"), "c2"), (None, "c1"), (None, "ann"), (Some("bob"), "c+")];

/// A file with entries by chance; whoever is `judge` may do everything.
fn acl_file(dice: &mut Dice) -> String {
    let mut text = String::from("# by chance\n");
    let entries = |text: &mut String, dice: &mut Dice, word: &str, most: usize| {
        for _ in 0..dice.of(most + 1) {
            let access = dice.one(&["", "read ", "write ", "readwrite ", "deny "]);
            let filter = dice.one(&FILTERS);
            // Without a word it cannot hold a space.
            let access = if access.is_empty() && filter.contains(' ') { "read " } else { access };
            text.push_str(&format!("{word} {access}{filter}\n"));
        }
    };
    entries(&mut text, dice, "topic", 3);
    for user in ["ann", "bob"] {
        if dice.of(4) > 0 {
            text.push_str(&format!("\nuser {user}\n"));
            entries(&mut text, dice, "topic", 4);
        }
    }
    text.push_str("\nuser judge\ntopic readwrite #\ntopic readwrite $p/#\n");
    if dice.of(2) == 0 {
        entries(&mut text, dice, "pattern", 3);
    }
    text
}

fn identity(name: Option<&str>, client_id: &str) -> ClientConfig {
    let (username, password) = (name.map(|name| name.to_owned().into()), name.map(|name| name.to_owned().into()));
    ClientConfig { username, password, ..config(client_id, Version::V5) }
}

/// What each client may publish to and is given, by client and topic, as this broker has it.
async fn found(addr: SocketAddr) -> Vec<(usize, &'static str, bool, bool)> {
    let mut judge = Device::connect(addr, identity(Some("judge"), "judge")).await;
    let mut all = Vec::new();
    for (at, (name, client_id)) in CLIENTS.into_iter().enumerate() {
        let mut client = Device::connect(addr, identity(name, client_id)).await;
        client.subscribe_with(&[filter("#", QoS::AtMostOnce), filter("$p/#", QoS::AtMostOnce)]).await;
        for topic in TOPICS {
            judge.publish(at_least_once(topic, "x")).await;
            let is_given = client.drain().await.iter().any(|one| one.topic.as_str() == topic);
            let reason = client.publish(at_least_once(topic, "y")).await;
            client.drain().await;
            all.push((at, topic, reason != ReasonCode::NOT_AUTHORIZED, is_given));
        }
        client.goodbye().await;
    }
    all
}

/// 15 files, 45 pairs of a client and a topic, both ways: 1,350 cases.
#[test]
fn lists_mean_to_us_what_they_mean_to_mosquitto() {
    let dir = tempfile::tempdir().unwrap();
    let (users, list) = (dir.path().join("users"), dir.path().join("acl"));
    std::fs::write(&users, "").unwrap();
    for name in ["ann", "bob", "judge"] {
        let status = Command::new("mosquitto_passwd").arg("-b").arg(&users).args([name, name]).status();
        assert!(status.expect("mosquitto_passwd (Debian: mosquitto) is needed").success());
    }
    // Quick to check: 9 clients connect for each file, to either broker.
    let known = Users::parse(&std::fs::read_to_string(&users).unwrap()).unwrap();
    let mut dice = Dice(20_261_130);
    for _ in 0..15 {
        let text = acl_file(&mut dice);
        std::fs::write(&list, &text).unwrap();
        let settings = Settings { users: Some(known.clone()), ..listed(&text) };
        let (dir, users, list) = (dir.path(), users.as_path(), list.as_path());
        with(settings, |server: Server| async move {
            let judge = Judge::start(dir, users, list).await;
            let (ours, theirs) = (found(server.addr).await, found(judge.1).await);
            let differ: Vec<_> = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).collect();
            assert!(differ.is_empty(), "ours and mosquitto's: {differ:?} by\n{text}");
        });
    }
}
