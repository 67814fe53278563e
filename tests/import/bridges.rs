//! The same messages through mosquitto's own bridge, and through Tidegate with what was imported of it.

use super::imported;
use crate::fixture::{PATIENCE, assert_balanced};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, Version, eventually, within};

/// The last of everything, one for each QoS, both ways.
const MARKER: &str = "topic m/# both 2";

/// No line takes messages of another.
const PLAIN: &str = "topic out/# out 1
topic zero/+ OUT
topic in/# in 2 # a comment
topic both/# both 0
topic p/# out 2 l/ r/
topic q/# in 1 l/ r/
topic s/# both 1 s/ \"\"
topic \"\" out 1 here/a there/b
topic \"\" in 0 home/x far/y
topic glue/# out 1 \"\" pre
topic glue/# in 1 \"\" pre";

/// Lines that match the same messages.
const OVERLAPPING: &str = "topic d out 1
topic d out 1 \"\" x/
topic g/# out 1 \"\" a/
topic g/h out 1 \"\" b/
topic i/+ out 1
topic i/j/# out 1
topic k/# in 0 \"\" r/
topic k/# in 0 \"\" r/
topic n/# in 1 far/
topic n/o in 1";

/// Where messages are published on each side, and some that no line is about.
const TOPICS: [&str; 34] = [
    "out/1",
    "out",
    "zero/1",
    "zero/1/2",
    "in/1/2",
    "both/1",
    "l/p/1",
    "l/p",
    "p/1",
    "r/q/1",
    "q/1",
    "s/s/1",
    "s/1",
    "here/a",
    "here/a/b",
    "far/y",
    "glue/1",
    "glue",
    "preglue/1",
    "d",
    "e/f",
    "e/g",
    "e",
    "g/h",
    "g/x",
    "i/1",
    "i/j",
    "x/j",
    "r/k/1",
    "k/1",
    "n/1",
    "n/o",
    "far/n/1",
    "other/1",
];

struct Pair {
    local: Mosquitto,
    remote: Mosquitto,
}

fn broker() -> tidegate_testkit::MosquittoBuilder {
    Mosquitto::builder().line("log_type all")
}

/// `name` with these topics, to a broker at this port.
fn bridge(port: u16, topics: &str) -> String {
    format!(
        "connection office\naddress 127.0.0.1:{port}\nnotifications false\nremote_clientid bridge\n{topics}\n{MARKER}\n"
    )
}

/// mosquitto with a bridge.
fn with_bridge(topics: &str) -> Pair {
    let remote = broker().start();
    let local = broker().line(&bridge(remote.port(), topics)).start();
    let comes_in = 1 + topics.lines().filter(|line| line.contains(" in ") || line.contains(" both ")).count();
    let granted = || remote.log().matches("Sending SUBACK to bridge").count() >= comes_in;
    eventually("the bridge is subscribed", PATIENCE, granted);
    Pair { local, remote }
}

/// mosquitto, and Tidegate in the place of its bridge.
fn with_tidegate(topics: &str) -> (Pair, Tidegate) {
    let (local, remote) = (broker().start(), broker().start());
    let text = format!("listener {} 127.0.0.1\nallow_anonymous true\n{}", local.port(), bridge(remote.port(), topics));
    let tidegate = Tidegate::start(&imported(&text, &[]));
    (Pair { local, remote }, tidegate)
}

/// What filters clients have asked for, and with which QoS.
fn subscriptions(broker: &Mosquitto) -> BTreeSet<(String, String)> {
    let log = broker.log();
    let asked = log.lines().filter_map(|line| {
        let (start, qos) = line.split_once(" (QoS ")?;
        let filter = start.rsplit('\t').next()?;
        Some((filter.to_owned(), qos.trim_end_matches(')').to_owned()))
    });
    asked.collect()
}

fn filters(of: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    of.iter().map(|(filter, _)| filter.clone()).collect()
}

/// Everything that is at a broker after all was published at both: topic, payload and QoS, sorted.
#[track_caller]
fn carried(pair: &Pair) -> [Vec<String>; 2] {
    let sides = [("local", &pair.local), ("remote", &pair.remote)];
    let mut listeners = sides.map(|(name, broker)| {
        let mut client =
            Client::connect(broker.port(), &ClientOptions::new(Version::V311, &format!("l-{name}"))).expect("in");
        client.subscribe(&[("#", 2)]).expect("subscribed");
        client
    });
    for (name, broker) in sides {
        let mut client =
            Client::connect(broker.port(), &ClientOptions::new(Version::V311, &format!("p-{name}"))).expect("in");
        for qos in 0..3 {
            for topic in TOPICS {
                client.publish(topic, format!("{name} {qos}").as_bytes(), qos, false).expect("published");
                // mosquitto 2.0.11 answers its own bridge with quota exceeded, and falls out with it, where a client is behind.
                listeners.iter_mut().for_each(|listener| listener.turn(Duration::ZERO).expect("connected"));
            }
        }
        for qos in 0..3 {
            client.publish(&format!("m/{qos}"), name.as_bytes(), qos, false).expect("published");
        }
    }
    let mut all = [Vec::new(), Vec::new()];
    let end = Instant::now() + PATIENCE;
    for (client, all) in listeners.iter_mut().zip(&mut all) {
        // Three markers of this side, three of the other. What goes round for ever brings no markers.
        while all.iter().filter(|line: &&String| line.starts_with("m/")).count() < 6 {
            let left = end.saturating_duration_since(Instant::now());
            let received = client.receive(left).expect("connected").unwrap_or_else(|| panic!("no more than {all:#?}"));
            let payload = String::from_utf8_lossy(&received.payload).into_owned();
            all.push(format!("{} {payload} at {}", received.topic, received.qos));
        }
        all.sort();
    }
    all
}

#[test]
fn it_subscribes_to_what_mosquittos_bridge_subscribes_to() {
    let theirs = with_bridge(PLAIN);
    let (ours, _tidegate) = with_tidegate(PLAIN);
    let at_remote = subscriptions(&theirs.remote);
    assert!(at_remote.len() > 5, "{at_remote:?}");
    eventually("the same at the remote broker", PATIENCE, || subscriptions(&ours.remote) == at_remote);
    let log = theirs.local.log();
    let local = log.lines().filter_map(|line| line.split_once("doing local SUBSCRIBE on topic "));
    let local: BTreeSet<String> = local.map(|(_, filter)| filter.to_owned()).collect();
    assert!(local.len() > 5, "{local:?}");
    assert!(
        within(PATIENCE, || filters(&subscriptions(&ours.local)) == local),
        "{local:#?}\n{:#?}",
        subscriptions(&ours.local)
    );
}

#[track_caller]
fn carries_the_same(topics: &str) {
    let theirs = carried(&with_bridge(topics));
    let (pair, tidegate) = with_tidegate(topics);
    let ours = carried(&pair);
    for (side, (theirs, ours)) in ["local", "remote"].iter().zip(theirs.iter().zip(&ours)) {
        let missing: Vec<_> = theirs.iter().filter(|line| !ours.contains(line)).collect();
        let more: Vec<_> = ours.iter().filter(|line| !theirs.contains(line)).collect();
        assert!(missing.is_empty() && more.is_empty(), "at {side}: missing {missing:#?}, more {more:#?}");
        assert_eq!(theirs, ours, "each as often, at {side}");
    }
    assert_balanced(&tidegate);
}

#[test]
fn messages_pass_as_by_mosquittos_bridge() {
    carries_the_same(PLAIN);
}

#[test]
fn lines_that_overlap_carry_what_they_carry_with_mosquitto() {
    carries_the_same(OVERLAPPING);
}

/// Where it cannot be the same, the import says so: of lines that give other names, and of lines with another QoS.
#[test]
fn what_differs_is_what_the_import_says() {
    let topics = "topic e/f out 1 \"\" y/\ntopic e/# out 1 \"\" z/\ntopic +/j out 1\ntopic x/# out 0";
    let theirs = carried(&with_bridge(topics));
    let (pair, _tidegate) = with_tidegate(topics);
    let ours = carried(&pair);
    let more: Vec<_> = ours[1].iter().filter(|line| !theirs[1].contains(line)).collect();
    let missing: Vec<_> = theirs[1].iter().filter(|line| !ours[1].contains(line)).collect();
    assert_eq!(theirs[0], ours[0]);
    let twice = ["z/e/f local 0 at 0", "z/e/f local 1 at 1", "z/e/f local 2 at 1"];
    assert!(twice.iter().all(|line| more.iter().any(|more| more == line)), "{more:?}");
    // All else is another QoS.
    let without_qos = |line: &&String| line.split(" at ").next().unwrap_or_default().to_owned();
    let raised: BTreeSet<_> = more.iter().filter(|line| !twice.contains(&line.as_str())).map(without_qos).collect();
    assert_eq!(raised, missing.iter().map(without_qos).collect::<BTreeSet<_>>());

    let dir = tempfile::tempdir().expect("a folder");
    let output = super::import(&super::written(dir.path(), &bridge(1883, topics)), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("both match goes out by both") && said.contains("the highest of their QoS, 2"), "{said}");
}

#[test]
fn the_whole_tree_goes_both_ways_and_nothing_comes_back() {
    carries_the_same("topic # both 2");
}

/// With its state as a retained message, as watchers of a bridge expect it.
#[test]
fn the_state_of_the_bridge_is_told_at_the_remote_broker() {
    let (local, remote) = (Mosquitto::start(), Mosquitto::start());
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\nconnection office\naddress 127.0.0.1:{}\nremote_clientid house\ntopic a out 1\n",
        local.port(),
        remote.port()
    );
    let mut tidegate = Tidegate::start(&imported(&text, &[]));
    let mut watcher = Client::connect(remote.port(), &ClientOptions::new(Version::V311, "watcher")).expect("in");
    watcher.subscribe(&[("$SYS/broker/connection/#", 1)]).expect("subscribed");
    let mut state = || {
        let message = watcher.receive(PATIENCE).expect("connected").expect("a state");
        (message.topic, String::from_utf8_lossy(&message.payload).into_owned())
    };
    let topic = "$SYS/broker/connection/house/state".to_owned();
    assert_eq!(state(), (topic.clone(), "1".to_owned()));
    tidegate.terminate(PATIENCE);
    assert_eq!(state(), (topic.clone(), "0".to_owned()));
    tidegate.restart();
    assert_eq!(state(), (topic.clone(), "1".to_owned()));
    tidegate.kill();
    assert_eq!(state(), (topic, "0".to_owned()));
}

/// What one bridge brings, the other carries on, as with mosquitto.
#[test]
fn two_bridges_hand_on_to_each_other() {
    let (local, farm, office) = (Mosquitto::start(), Mosquitto::start(), Mosquitto::start());
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\nconnection farm\naddress 127.0.0.1:{}\ntopic # both 1 farm/\n\
         connection office\naddress 127.0.0.1:{}\ntopic farm/# out 1\n",
        local.port(),
        farm.port(),
        office.port()
    );
    let tidegate = Tidegate::start(&imported(&text, &[]));
    let mut at_office = Client::connect(office.port(), &ClientOptions::new(Version::V311, "o")).expect("in");
    at_office.subscribe(&[("#", 1)]).expect("subscribed");
    let mut at_farm = Client::connect(farm.port(), &ClientOptions::new(Version::V311, "f")).expect("in");
    at_farm.publish("cow/1", b"moo", 1, false).expect("published");
    let message = at_office.receive(PATIENCE).expect("connected").expect("a message");
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("farm/cow/1", &b"moo"[..]));
    assert_balanced(&tidegate);
}

/// `--own`: the listeners and the users of a mosquitto that is no more.
#[test]
fn its_listeners_become_a_broker() {
    let (remote, port) = (Mosquitto::start(), tidegate_testkit::free_port());
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nconnection office\naddress 127.0.0.1:{}\nnotifications false\n\
         topic # both 1 \"\" house/\n",
        remote.port()
    );
    let _tidegate = Tidegate::start(&imported(&text, &["--own"]));
    let mut here = Client::connect(port, &ClientOptions::new(Version::V311, "here")).expect("in");
    let mut there = Client::connect(remote.port(), &ClientOptions::new(Version::V311, "there")).expect("in");
    here.subscribe(&[("cmd/#", 1)]).expect("subscribed");
    there.subscribe(&[("house/up/#", 1)]).expect("subscribed");
    here.publish("up/1", b"a", 1, false).expect("published");
    there.publish("house/cmd/1", b"b", 1, false).expect("published");
    let received = |client: &mut Client| client.receive(PATIENCE).expect("connected").expect("a message").topic;
    assert_eq!((received(&mut there), received(&mut here)), ("house/up/1".to_owned(), "cmd/1".to_owned()));
}
