//! Remapping by levels, routes in both directions, and answers that arrive where they are waited for.

use super::{exactly, listener};
use crate::fixture::{PATIENCE, assert_balanced, broker, named_route, run};
use std::process::{Command, Stdio};
use tidegate_testkit::{Client, ClientOptions, Mosquitto, MosquittoSub, Tidegate, Version, mosquitto_pub};

#[track_caller]
fn publisher(port: u16) -> Client {
    Client::connect(port, &ClientOptions::new(Version::V5, "publisher")).expect("the publisher connects")
}

/// Two brokers of MQTT 5, home and office, without routes.
fn brokers(home: &Mosquitto, office: &Mosquitto) -> String {
    broker("home", &home.url(), "version = \"5\"") + &broker("office", &office.url(), "version = \"5\"")
}

const LEVELS: &str = "remap = { from = \"dev/{room}/{kind}\", to = \"site/cottage/{kind}/{room}\"";

#[test]
fn levels_change_their_places_and_what_does_not_fit_is_dropped_and_counted() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let mut config = brokers(&home, &office);
    config += &named_route("levels", "home", &["dev/#"], 1, &["office"], &format!("{LEVELS} }}"));
    let rest = "remap = { from = \"lab/{room}/{rest...}\", to = \"{room}/lab/{rest...}\" }";
    config += &named_route("rest", "home", &["lab/#"], 1, &["office"], rest);
    let tidegate = Tidegate::start(&config);
    let mut subscriber = listener(office.port(), "subscriber");
    let mut publisher = publisher(home.port());
    let topics = [
        ("dev/attic/temp", Some("site/cottage/temp/attic")),
        ("dev/attic", None),
        ("dev//", Some("site/cottage//")),
        ("dev/attic/temp/now", None),
        ("dev/attic/temp", Some("site/cottage/temp/attic")),
        ("lab/1", Some("1/lab")),
        ("lab", None),
        ("lab/1/a/b", Some("1/lab/a/b")),
    ];
    for (from, _) in topics {
        publisher.publish(from, b"x", 1, false).unwrap();
    }
    let expected: Vec<&str> = topics.iter().filter_map(|(_, to)| *to).collect();
    let mut came: Vec<_> = exactly(&mut subscriber, expected.len()).into_iter().map(|message| message.topic).collect();
    // A route does not wait for another; within one, order is kept.
    came.sort_by_key(|topic| topic.contains("lab"));
    assert_eq!(came, expected);
    let metrics = assert_balanced(&tidegate);
    let dropped = |route: &str| {
        metrics.get("tidegate_route_dropped_total", &[("route", route), ("reason", "remap")]).unwrap_or(0.0)
    };
    assert_eq!((dropped("levels"), dropped("rest")), (2.0, 1.0));
}

#[test]
fn explain_and_check_speak_of_levels_and_of_both_routes() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let keys = format!("{LEVELS} }}\ndirection = \"both\"");
    let config = brokers(&home, &office) + &named_route("bridge", "home", &["dev/+/+"], 1, &["office"], &keys);
    let tidegate = Tidegate::start(&config);
    let path = tidegate.dir().join("tidegate.toml");
    let path = path.to_str().expect("text");
    let said = |args: &[&str]| String::from_utf8(run(args).stdout).expect("text");
    let asked = said(&["explain", "--config", path, "-b", "office", "-t", "site/cottage/temp/attic"]);
    for words in ["route `bridge-back`: yes", "`site/cottage/temp/attic` becomes `dev/attic/temp`"] {
        assert!(asked.contains(words), "{words}: {asked}");
    }
    let checked = said(&["check", "--verbose", path]);
    let words =
        "two routes: `bridge` from `home` to `office`, `bridge-back` from `office` to `home`, of site/cottage/+/+";
    assert!(checked.contains(words) && checked.contains("2 routes"), "{checked}");
    assert!(!said(&["check", path]).contains("note:"), "nobody asked");
}

#[test]
fn a_route_in_both_directions_carries_each_topic_to_its_name_and_back_and_nothing_twice() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let mut config = brokers(&home, &office);
    let both = format!("{LEVELS} }}\ndirection = \"both\"");
    config += &named_route("levels", "home", &["dev/+/+"], 1, &["office"], &both);
    let both = "remap = { strip = \"lab/\", prefix = \"site/lab/\" }\ndirection = \"both\"";
    config += &named_route("front", "home", &["lab/#"], 1, &["office"], both);
    config += &named_route("plain", "home", &["yard/#"], 1, &["office"], "direction = \"both\"");
    let tidegate = Tidegate::start(&config);
    let (mut at_home, mut at_office) = (listener(home.port(), "at-home"), listener(office.port(), "at-office"));
    let names = [("dev/attic/temp", "site/cottage/temp/attic"), ("lab/1/x", "site/lab/1/x"), ("yard/x", "yard/x")];
    let (mut here, mut there) = (publisher(home.port()), publisher(office.port()));
    for (name, _) in names {
        here.publish(name, b"from home", 1, false).unwrap();
    }
    for (_, name) in names {
        there.publish(name, b"from office", 1, false).unwrap();
    }
    // What somebody publishes is at his own broker as he called it, and at the other by its name there.
    let came = |listener: &mut Client, own: &str| {
        let all = exactly(listener, names.len() * 2).into_iter().map(|message| (message.payload, message.topic));
        let (own, others): (Vec<_>, Vec<_>) = all.partition(|(payload, _)| payload == own.as_bytes());
        let sorted = |list: Vec<(Vec<u8>, String)>| {
            let mut topics: Vec<String> = list.into_iter().map(|(_, topic)| topic).collect();
            topics.sort();
            topics
        };
        (sorted(own), sorted(others))
    };
    let (mut homes, mut offices) = (names.map(|(name, _)| name), names.map(|(_, name)| name));
    homes.sort_unstable();
    offices.sort_unstable();
    let (own, others) = came(&mut at_home, "from home");
    assert_eq!((own, others), (homes.map(str::to_owned).to_vec(), homes.map(str::to_owned).to_vec()));
    let (own, others) = came(&mut at_office, "from office");
    assert_eq!((own, others), (offices.map(str::to_owned).to_vec(), offices.map(str::to_owned).to_vec()));
    let metrics = assert_balanced(&tidegate);
    for route in ["levels", "levels-back", "front", "front-back", "plain", "plain-back"] {
        assert_eq!(metrics.get("tidegate_route_out_total", &[("route", route)]), Some(1.0), "{route}");
    }
}

/// Somebody asks with `mosquitto_rr` at one broker on a topic, and waits at another topic there; somebody else answers at
/// the other broker, where the question says. What the question has there: topic and response topic.
#[track_caller]
fn asks(at: &Mosquitto, topic: &str, waits: &str, other: &Mosquitto) -> (String, String) {
    let sub = MosquittoSub::start(other.port(), &["-V", "5", "-q", "1", "-t", "#", "-F", "MESSAGE %t|%R|%D|%p"]);
    let (port, limit) = (at.port().to_string(), PATIENCE.as_secs().to_string());
    let args =
        ["-V", "5", "-q", "1", "-h", "127.0.0.1", "-p", &port, "-W", &limit, "-t", topic, "-e", waits, "-m", "on?"];
    let data = ["-D", "publish", "correlation-data", "order-66", "-F", "%t|%D|%p"];
    let asking = Command::new("mosquitto_rr").args(args).args(data).stdout(Stdio::piped()).spawn().expect("it runs");
    let question = sub.expect(1, PATIENCE).remove(0);
    let [name, answer_to, data, payload] = question.split('|').collect::<Vec<_>>()[..] else { panic!("{question}") };
    assert_eq!(payload, "on?");
    let args = ["-V", "5", "-q", "1", "-t", answer_to, "-m", "on!", "-D", "publish", "correlation-data", data];
    mosquitto_pub(other.port(), &args);
    let answered = asking.wait_with_output().expect("it ends");
    let answered = String::from_utf8(answered.stdout).expect("text");
    assert_eq!(answered.trim(), format!("{waits}|order-66|on!"), "the answer to {question}");
    (name.to_owned(), answer_to.to_owned())
}

#[test]
fn a_question_gets_its_answer_through_a_route_in_both_directions_from_either_side() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let both = format!("{LEVELS}, response_topic = true }}\ndirection = \"both\"");
    let mut config = brokers(&home, &office);
    config += &named_route("levels", "home", &["dev/+/+"], 1, &["office"], &both);
    let tidegate = Tidegate::start(&config);
    let there = asks(&home, "dev/attic/set", "dev/attic/answers", &office);
    assert_eq!(there, ("site/cottage/set/attic".to_owned(), "site/cottage/answers/attic".to_owned()));
    let back = asks(&office, "site/cottage/set/cellar", "site/cottage/answers/cellar", &home);
    assert_eq!(back, ("dev/cellar/set".to_owned(), "dev/cellar/answers".to_owned()));
    assert_balanced(&tidegate);
}

#[test]
fn an_answer_comes_by_a_route_of_its_own_that_names_topics_in_another_way() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let mut config = brokers(&home, &office);
    config += &named_route("ask", "home", &["dev/+/+"], 1, &["office"], &format!("{LEVELS}, response_topic = true }}"));
    let answers = "remap = { from = \"answers/{client}/{rest...}\", to = \"from-office/{client}/{rest...}\" }";
    config += &named_route("answer", "office", &["answers/#"], 1, &["home"], answers);
    let tidegate = Tidegate::start(&config);
    let there = asks(&home, "dev/attic/set", "from-office/42/on", &office);
    assert_eq!(there, ("site/cottage/set/attic".to_owned(), "answers/42/on".to_owned()));
    assert_balanced(&tidegate);
}
