//! What goes into a stream comes out of it as it was.

use super::*;
use tidegate_testkit::{MosquittoSub, Nats, eventually, mosquitto_pub};

/// Topic, QoS, retain flag, payload and all properties that mosquitto_sub shows.
const EVERYTHING: &str = "MESSAGE %t %q %r %p content=%C response=%R data=%D format=%F user=%P";

const PROPERTIES: [&[&str]; 6] = [
    &["content-type", "text/plain;\u{e9}"],
    &["correlation-data", "order-66"],
    &["payload-format-indicator", "1"],
    &["response-topic", "answers/3"],
    &["user-property", "z", "1=2 "],
    &["user-property", "a%20=", "x"],
];

#[test]
fn everything_that_a_message_bears_goes_through_a_stream() {
    let (home, office, nats) = (Mosquitto::start(), Mosquitto::start(), Nats::start());
    let sub = MosquittoSub::start(office.port(), &["-V", "5", "-q", "2", "-t", "#", "-F", EVERYTHING]);
    let site = stream(&nats.url(), "");
    let _into = Tidegate::start(&into_stream(&home, &site));
    let _out = Tidegate::start(&out_of_stream(&office, &site));
    for qos in ["0", "1", "2"] {
        let mut args = vec!["-V", "5", "-t", "dev/1/temp", "-q", qos, "-m", "21.5"];
        args.extend(PROPERTIES.iter().flat_map(|property| ["-D", "publish"].iter().chain(*property)));
        mosquitto_pub(home.port(), &args);
    }
    let lines = sub.expect(3, PATIENCE);
    for (qos, line) in lines.iter().enumerate() {
        assert_eq!(
            *line,
            format!(
                "site/1/temp {qos} 0 21.5 content=text/plain;\u{e9} response=answers/3 data=order-66 format=1 \
                 user=z:1=2  a%20=:x tidegate-hops:into/site out-of/office"
            )
        );
    }
    let kept = nats.client().messages("S");
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|message| message.subject == "site.1.temp"), "{kept:?}");
    assert_eq!(kept[0].header("Mqtt-Qos"), Some("0"));
    assert_eq!(kept[1].header("Mqtt-Qos"), None);
}

#[test]
fn the_expiry_counts_in_the_stream_and_the_retain_flag_comes_out() {
    let (home, office, nats) = (Mosquitto::start(), Mosquitto::start(), Nats::start());
    let site = stream(&nats.url(), "");
    let into = Tidegate::start(&into_stream(&home, &site));
    let expiry = "-V 5 -t dev/a -q 1 -m x -D publish message-expiry-interval 3600 -r";
    mosquitto_pub(home.port(), &expiry.split(' ').collect::<Vec<_>>());
    eventually("it is in the stream", PATIENCE, || nats.client().count("S") == 1);
    drop(into);
    let out = Tidegate::start(&out_of_stream(&office, &site));
    eventually("it is at the office", PATIENCE, || out.metrics().get("tidegate_route_out_total", &[]) == Some(1.0));
    let shown = MosquittoSub::start(office.port(), &["-V", "5", "-q", "1", "-t", "site/a", "-F", "MESSAGE %r %E"]);
    let line = shown.expect(1, PATIENCE).remove(0);
    let left: u64 = line.strip_prefix("1 ").expect("retained").parse().expect("an expiry");
    assert!((1..=3600).contains(&left), "{line}");
}

#[test]
fn odd_topics_come_back_and_what_others_publish_becomes_a_topic() {
    let (home, office, nats) = (Mosquitto::start(), Mosquitto::start(), Nats::start());
    let sub = MosquittoSub::start(office.port(), &["-V", "5", "-q", "1", "-t", "#", "-F", "MESSAGE %t|%p|%P"]);
    let site = stream(&nats.url(), "");
    let _into = Tidegate::start(&into_stream(&home, &site));
    let _out = Tidegate::start(&out_of_stream(&office, &site));
    let odd = ["v1.2/a b", "/a//b/", "50%/*/>", "k\u{fc}che/\u{a0}"];
    for topic in odd {
        mosquitto_pub(home.port(), &["-V", "5", "-q", "1", "-t", &format!("dev/{topic}"), "-m", "1"]);
    }
    let mut lines = sub.expect(odd.len(), PATIENCE);
    lines.sort();
    let mut wanted: Vec<String> =
        odd.iter().map(|topic| format!("site/{topic}|1|tidegate-hops:into/site out-of/office")).collect();
    wanted.sort();
    assert_eq!(lines, wanted);
    let mut other = nats.client();
    other.publish("site.other", &[("Zone", "north")], b"2");
    other.publish("site.a/b", &[], b"3");
    let lines = sub.expect(odd.len() + 2, PATIENCE);
    assert_eq!(
        lines[odd.len()..],
        ["site/other|2|Zone:north tidegate-hops:out-of/office", "site/a%2Fb|3|tidegate-hops:out-of/office"]
    );
}

#[test]
fn routes_take_what_their_filters_say_and_a_reload_changes_the_consumer() {
    let (office, nats) = (Mosquitto::start(), Nats::start());
    let sub = MosquittoSub::start(office.port(), &["-q", "1", "-t", "#"]);
    let config = |topics: &[&str]| {
        broker("office", &office.url(), SOON)
            + &stream(&nats.url(), "client_id = \"out\"")
            + &named_route("out", "site", topics, 1, &["office"], "")
    };
    let gateway = Tidegate::start(&config(&["site/+/temp"]));
    let mut client = nats.client();
    let filter = || nats.client().api("CONSUMER.INFO.S.out", "")["config"]["filter_subject"].clone();
    assert_eq!(filter(), "site.*.temp");
    let mut publish = |payload: &str| {
        // The one that comes is the last: what is behind it in the stream a wider filter may still bring.
        for subject in ["site.b.hum", "site.a", "site.a.x.y", "site.b.temp"] {
            client.publish(subject, &[], payload.as_bytes());
        }
    };
    publish("1");
    assert_eq!(sub.expect(1, PATIENCE), ["site/b/temp 1 0 1"]);
    // No one filter of NATS matches both, nor a level and all below it.
    gateway.edit_config(&config(&["site/+/temp", "site/a/#"]));
    eventually("the consumer has a wider filter", PATIENCE, || filter() == "site.>");
    publish("2");
    assert_eq!(sub.expect(4, PATIENCE)[1..], ["site/a 1 0 2", "site/a/x/y 1 0 2", "site/b/temp 1 0 2"]);
    // What is narrower needs no other consumer.
    gateway.edit_config(&config(&["site/b/hum"]));
    eventually("the reload is done", PATIENCE, || gateway.log().matches("reloaded").count() == 2);
    publish("3");
    assert_eq!(sub.expect(5, PATIENCE)[4], "site/b/hum 1 0 3");
}
