//! Several brokers under one name.

use super::last_of_all;
use crate::fixture::{PATIENCE, assert_balanced, broker, plugin, route};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_testkit::{
    Client, ClientOptions, Ledger, Mosquitto, MosquittoSub, Publisher, PublisherOptions, Subscriber, SubscriberOptions,
    Tidegate, Version, eventually, mosquitto_pub, within,
};

/// Enough that a fair choice between two gives each at least one.
const TOPICS: u64 = 40;

struct Set {
    home: Mosquitto,
    office: Mosquitto,
    backup: Mosquitto,
    tidegate: Tidegate,
}

/// Everything under `dev` goes from `home` to the set of `office` and `backup`.
#[track_caller]
fn set(policy: &str) -> Set {
    set_behind(policy, "")
}

/// The same, behind this script if it says anything.
#[track_caller]
fn set_behind(policy: &str, script: &str) -> Set {
    // What the members have taken over outlives them.
    let start = || Mosquitto::builder().persistence(true).line("autosave_interval 0").start();
    let (home, office, backup) = (start(), start(), start());
    let fast = "reconnect = { min = \"50ms\", max = \"200ms\" }";
    let mut config = broker("home", &home.url(), "");
    config += &(broker("office", &office.url(), fast) + &broker("backup", &backup.url(), fast));
    config += &format!("[targets.upstream]\n{policy}\nmembers = [\"office\", \"backup\"]\n");
    let plugins = if script.is_empty() { "" } else { "plugins = [\"script\"]" };
    config += &route("home", &["dev/#"], &["upstream"], plugins);
    if !script.is_empty() {
        config += &format!("[plugins.script]\npath = \"script.wasm\"\nconfig = {{ script = '{script}' }}\n");
    }
    let tidegate = Tidegate::builder(&config).file("script.wasm", plugin("script")).start();
    Set { home, office, backup, tidegate }
}

#[track_caller]
fn subscriber(mosquitto: &Mosquitto, name: &str, ledger: &Ledger) -> Subscriber {
    let client = ClientOptions::new(Version::V5, name).clean(false);
    Subscriber::start(mosquitto.port(), SubscriberOptions::new(client, name, "dev/+/temp", 1), ledger)
}

#[track_caller]
fn publisher(mosquitto: &Mosquitto, ledger: &Ledger) -> Publisher {
    let client = ClientOptions::new(Version::V5, "publisher").clean(false);
    let mut options = PublisherOptions::new(client, "dev/{key}/temp");
    options.rate = 1_000;
    Publisher::start(mosquitto.port(), options, ledger)
}

#[test]
fn failover_takes_the_second_while_the_first_is_away_and_loses_nothing() {
    let Set { home, mut office, backup, tidegate } = set("policy = \"failover\"\nfailback = \"1s\"");
    let ledger = Ledger::new();
    let (at_office, at_backup) = (subscriber(&office, "office", &ledger), subscriber(&backup, "backup", &ledger));
    let publisher = publisher(&home, &ledger);
    eventually("the first gets it", PATIENCE, || at_office.received() > 500);
    assert_eq!(at_backup.received(), 0, "the second gets nothing while the first is well");

    office.stop();
    eventually("the second gets it", PATIENCE, || at_backup.received() > 500);
    office.restart();
    let before = at_office.received();
    eventually("the first gets it again", PATIENCE, || at_office.received() > before + 500);

    publisher.stop();
    last_of_all(home.port(), 1, &ledger, "office");
    assert_balanced(&tidegate);
    let at_backup = at_backup.stop();
    eventually("everything has arrived", PATIENCE, || ledger.lost_by_all(&["office", "backup"]).is_empty());
    at_office.stop();
    assert!(at_backup > 500);
    // What one member had taken when it went away may have gone to the other too; within one, order is kept.
    for member in ["office", "backup"] {
        ledger.check(member).assert_in_order();
    }
}

#[test]
fn balance_keeps_a_topic_on_one_member() {
    let Set { home, office, backup, tidegate } = set("policy = \"balance\"");
    let subs = [&office, &backup].map(|member| MosquittoSub::start(member.port(), &["-q", "1", "-t", "dev/#"]));
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "publisher")).unwrap();
    for n in 0..5 * TOPICS {
        client.publish(&format!("dev/{}/temp", n % TOPICS), n.to_string().as_bytes(), 1, false).unwrap();
    }
    let all = || subs.iter().map(|sub| sub.lines().len()).sum::<usize>();
    eventually("everything arrives", PATIENCE, || all() >= 5 * TOPICS as usize);
    let metrics = assert_balanced(&tidegate);
    assert_eq!(metrics.get("tidegate_route_out_total", &[]), Some(5.0 * TOPICS as f64));
    let topics = subs.map(|sub| {
        let mut topics: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in sub.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            topics.entry(words[0].to_owned()).or_default().push(words[3].parse().unwrap());
        }
        topics
    });
    assert!(topics.iter().all(|topics| !topics.is_empty()), "both members are used: {topics:?}");
    assert_eq!(topics[0].len() + topics[1].len(), TOPICS as usize, "each topic is on one member: {topics:?}");
    for numbers in topics.iter().flat_map(BTreeMap::values) {
        assert!(numbers.len() == 5 && numbers.is_sorted(), "{topics:?}");
    }
}

#[test]
fn balance_by_a_key_that_a_plugin_says_keeps_a_key_on_one_member() {
    const KEYS: u64 = 20;
    let script = "onward().key(message.json.site)";
    let Set { home, office, backup, tidegate } = set_behind("policy = \"balance\"", script);
    let subs = [&office, &backup].map(|member| MosquittoSub::start(member.port(), &["-q", "1", "-t", "dev/#"]));
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "publisher")).unwrap();
    // Each site on every topic, so that topics alone would scatter it.
    for n in 0..KEYS * TOPICS {
        let payload = format!("{{\"site\":\"s{}\"}}", n % KEYS);
        client.publish(&format!("dev/{}/temp", n / KEYS), payload.as_bytes(), 1, false).unwrap();
    }
    let all = || subs.iter().map(|sub| sub.lines().len()).sum::<usize>();
    eventually("everything arrives", PATIENCE, || all() >= (KEYS * TOPICS) as usize);
    assert_balanced(&tidegate);
    let sites = subs.map(|sub| {
        let payload = |line: &String| line.rsplit(' ').next().unwrap_or_default().to_owned();
        sub.lines().iter().map(payload).collect::<BTreeSet<String>>()
    });
    assert!(sites.iter().all(|sites| !sites.is_empty()), "both members are used: {sites:?}");
    assert_eq!(sites[0].len() + sites[1].len(), KEYS as usize, "each site is on one member: {sites:?}");
}

#[test]
fn balance_moves_the_topics_of_a_member_that_is_away_and_loses_nothing() {
    let Set { home, mut office, backup, tidegate } = set("policy = \"balance\"");
    let ledger = Ledger::new();
    let (at_office, at_backup) = (subscriber(&office, "office", &ledger), subscriber(&backup, "backup", &ledger));
    let client = ClientOptions::new(Version::V5, "publisher").clean(false);
    let mut options = PublisherOptions::new(client, "dev/{key}/temp");
    (options.rate, options.keys) = (1_000, TOPICS);
    let publisher = Publisher::start(home.port(), options, &ledger);
    eventually("both get some", PATIENCE, || at_office.received() > 100 && at_backup.received() > 100);

    office.stop();
    let keys_of = |check: tidegate_testkit::Check| {
        let missing: BTreeSet<String> = check.missing.into_iter().map(|id| id.key).collect();
        TOPICS as usize - missing.len()
    };
    // From some moment on the member that is left gets every topic.
    eventually("the other member gets all topics", PATIENCE, || {
        let late = publisher.sent() / TOPICS;
        within(PATIENCE, || publisher.sent() / TOPICS > late + 2);
        keys_of(ledger.check_of("backup", |id| id.n == late)) == TOPICS as usize
    });
    office.restart();
    publisher.stop();
    eventually("everything has arrived", PATIENCE, || ledger.lost_by_all(&["office", "backup"]).is_empty());
    assert_balanced(&tidegate);
    at_office.stop();
    at_backup.stop();
}

#[test]
fn all_gives_every_member_everything() {
    let Set { home, office, backup, tidegate } = set("policy = \"all\"");
    let ledger = Ledger::new();
    let subscribers = [subscriber(&office, "office", &ledger), subscriber(&backup, "backup", &ledger)];
    let publisher = publisher(&home, &ledger);
    eventually("some are sent", PATIENCE, || publisher.sent() > 500);
    publisher.stop();
    let all = ledger.published_count();
    for name in ["office", "backup"] {
        eventually("everything arrives", PATIENCE, || ledger.received_count(name) >= all);
    }
    let metrics = assert_balanced(&tidegate);
    assert_eq!(metrics.get("tidegate_route_out_total", &[]), Some(2.0 * all as f64));
    for (subscriber, name) in subscribers.into_iter().zip(["office", "backup"]) {
        subscriber.stop();
        ledger.check(name).assert_exactly_once().assert_in_order().assert_published(500);
    }
}

#[test]
fn the_log_says_once_where_a_set_goes_and_why() {
    let Set { mut office, mut backup, tidegate, home: _home } = set("policy = \"failover\"\nfailback = \"1s\"");
    let says = |words: &[&str]| {
        let log = tidegate.log();
        let lines = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        lines.count()
    };
    let over = ["WARN", "failover: ", "set=\"upstream\"", "to=\"backup\"", "from=\"office\"", "why="];
    office.stop();
    eventually("the second takes over", PATIENCE, || says(&over) == 1);
    office.restart();
    let back = ["INFO", "failback: ", "set=\"upstream\"", "to=\"office\"", "from=\"backup\""];
    eventually("the first takes over again", PATIENCE, || says(&back) == 1);

    office.stop();
    backup.stop();
    let away = ["WARN", "all members of the set are away", "set=\"upstream\"", "office: ", "backup: "];
    eventually("both are away", PATIENCE, || says(&away) == 1);
    assert_eq!(says(&["go to the other members"]), 0, "there are none");
    backup.restart();
    let there = ["INFO", "a member of the set is back", "to=\"backup\""];
    eventually("one is back", PATIENCE, || says(&there) == 1);
    assert_eq!((says(&away), says(&back)), (1, 1));
}

#[test]
fn of_a_set_that_gives_to_all_the_source_waits_for_as_many_as_it_requires() {
    let (home, mut office, backup) = (Mosquitto::start(), Mosquitto::start(), Mosquitto::start());
    let fast = "reconnect = { min = \"50ms\", max = \"200ms\" }";
    let config = broker("home", &home.url(), "")
        + &broker("office", &office.url(), fast)
        + &broker("backup", &backup.url(), fast)
        + "[targets.upstream]\npolicy = \"all\"\nmembers = [\"office\", \"backup\"]\nrequire = \"any\"\n"
        + &route("home", &["dev/#"], &["upstream"], "ack = \"delivered\"");
    let tidegate = Tidegate::start(&config);
    let of_office = |name: &str, label: &str| tidegate.metrics().get(name, &[(label, "office")]);
    office.kill();
    eventually("the office is away", PATIENCE, || of_office("tidegate_broker_up", "broker") == Some(0.0));
    let said = |text: &str| {
        mosquitto_pub(home.port(), &["-q", "1", "-t", "dev/1/temp", "-m", text]);
    };
    let sub = |at: &Mosquitto| MosquittoSub::start(at.port(), &["-q", "1", "-t", "dev/#", "-F", "MESSAGE %p"]);
    let at_backup = sub(&backup);
    said("20");
    assert_eq!(at_backup.expect(1, PATIENCE), ["20"]);
    // The one has it, the other has it on disk.
    eventually("the source is acknowledged", PATIENCE, || {
        tidegate.metrics().get("tidegate_unacknowledged", &[]) == Some(0.0)
    });
    assert_eq!(of_office("tidegate_spool_queued", "target"), Some(1.0));
    office.restart();
    eventually("the office has it", PATIENCE, || of_office("tidegate_spool_queued", "target") == Some(0.0));
    let at_office = sub(&office);
    said("21");
    assert_eq!(at_office.expect(1, PATIENCE), ["21"]);
    assert_balanced(&tidegate);
}
