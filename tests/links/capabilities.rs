//! What a broker cannot do is said at connecting, if a route is affected; what echoes goes over once; loops over other gateways end.

use super::*;
use tidegate_testkit::{Answer, Certs, End, Habit, Mosquitto, OneAnswer, Property, Script};

/// A route from `x` and one to it, which differ in topics.
fn both_ways(x: &ScriptedBroker, other: &ScriptedBroker, version: &str) -> String {
    link("x", &x.url(), version, "")
        + &link("other", &other.url(), "5", "")
        + &named_route("up", "x", &["u/#"], 2, &["other"], "")
        + &named_route("down", "other", &["d/#"], 2, &["x"], "")
}

/// What is said of `x` when it has connected.
#[track_caller]
fn is_said(version: &str, script: Script, words: &[&[&str]]) {
    let (x, other) = (ScriptedBroker::start(script), ScriptedBroker::start(Script::new()));
    let tidegate = Tidegate::start(&both_ways(&x, &other, version));
    for alternatives in words {
        let found = within(PATIENCE, || {
            let log = tidegate.log().to_lowercase();
            log.lines().any(|line| line.contains("broker=\"x\"") && alternatives.iter().any(|word| line.contains(word)))
        });
        assert!(found, "nothing of {alternatives:?} in\n{}", tidegate.log());
    }
}

#[test]
fn no_bridge_bit_and_no_no_local_is_said() {
    for script in [Script::rabbitmq(), Script::nats(), Script::amqtt(), Script::rumqttd_v4()] {
        is_said("auto", script, &[&["echo"], &["retain"]]);
    }
}

#[test]
fn a_session_that_is_kept_for_less_is_said() {
    is_said("5", Script::new().always(Habit::Connack(Property::session_expiry_s(300))), &[&["5m"], &["7d"]]);
    is_said("5", Script::new().always(Habit::Connack(Property::session_expiry_s(0))), &[&["7d"], &["session"]]);
}

#[test]
fn limits_of_mqtt_5_are_said() {
    is_said("5", Script::new().always(Habit::Connack(Property::maximum_qos(1))), &[&["qos 1"]]);
    is_said("5", Script::new().always(Habit::Connack(Property::no_retain())), &[&["retain"]]);
    is_said("5", Script::new().always(Habit::Connack(Property::maximum_packet_size(2_048))), &[&["2kib", "2048"]]);
    is_said(
        "5",
        Script::new().always(Habit::Connack(Property::receive_maximum(1))),
        &[&["receive maximum", "receive_maximum", "at a time"]],
    );
}

#[test]
fn a_broker_that_can_do_everything_has_nothing_said_of_it() {
    let (x, other) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let tidegate = Tidegate::start(&both_ways(&x, &other, "5"));
    send(&x, "u/1", 1, ["m".to_owned()]);
    arrives(&other, "m");
    assert_eq!(lines_with(&tidegate, &["warn"]) + lines_with(&tidegate, &["error"]), 0, "{}", tidegate.log());
}

/// The same topics both ways between two brokers that send back what they are sent: each message goes over once.
#[track_caller]
fn what_echoes_goes_over_once(version: &str, one: Script, two: Script, counter: &str) {
    let (x, y) = (ScriptedBroker::start(one), ScriptedBroker::start(two));
    let config = link("x", &x.url(), version, "")
        + &link("y", &y.url(), version, "")
        + &named_route("there", "x", &["a/#"], 1, &["y"], "")
        + &named_route("back", "y", &["a/#"], 1, &["x"], "");
    let tidegate = Tidegate::builder(&config).spawn();
    eventually("both are subscribed", PATIENCE, || x.filters() == ["a/#"] && y.filters() == ["a/#"]);
    send(&x, "a/b", 1, numbered(20));
    arrives(&y, "n0019");
    // Two readings in a row may well be the same, and both sides may say it.
    send(&y, "a/b", 1, ["same", "same", "n0007", "end"].map(str::to_owned));
    arrives(&x, "end");
    eventually("all has come back that will", PATIENCE, || tidegate.metrics().get(counter, &[]).unwrap_or(0.0) >= 24.0);
    drained(&tidegate);
    let carried = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (x.payloads(), y.payloads()),
        (carried(&["same", "same", "n0007", "end"]), numbered(20)),
        "{}",
        tidegate.log()
    );
    assert_eq!(tidegate.metrics().get(counter, &[]).unwrap_or(0.0), 24.0);
}

#[test]
fn what_two_plain_brokers_send_back_goes_no_further() {
    what_echoes_goes_over_once("auto", Script::rabbitmq(), Script::nats(), "tidegate_broker_echoes_total");
}

#[test]
fn what_two_brokers_that_ignore_no_local_send_back_goes_no_further() {
    what_echoes_goes_over_once("5", Script::rumqttd_v5(), Script::rumqttd_v5(), "tidegate_broker_loops_total");
}

/// A gateway of another name than all others have.
fn named(name: &str, config: &str) -> String {
    format!("{config}\n[gateway]\nname = \"{name}\"\ndata_dir = \"{{dir}}/data\"\n")
}

/// Two gateways that face each other: with MQTT 5 what the other brings back is known by its marks.
#[test]
fn two_gateways_between_two_brokers_of_mqtt_5_are_no_loop() {
    let (x, y) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let gateway = |id: &str| {
        let link = |name: &str, url: &str| link(name, url, "5", &format!("client_id = \"{id}-{name}\"\n"));
        let config = link("x", &x.url())
            + &link("y", &y.url())
            + &named_route("there", "x", &["a/#"], 1, &["y"], "")
            + &named_route("back", "y", &["a/#"], 1, &["x"], "");
        Tidegate::start(&named(id, &config))
    };
    let gateways = [gateway("one"), gateway("two")];
    send(&x, "a/b", 1, ["round".to_owned()]);
    let looped =
        || gateways.iter().map(|one| one.metrics().get("tidegate_broker_loops_total", &[]).unwrap_or(0.0)).sum::<f64>();
    // Each brings it over, the other brings that back, and neither brings it over again.
    eventually("it has gone round", PATIENCE, || looped() >= 2.0);
    gateways.iter().for_each(drained);
    assert_eq!((looped(), y.payloads().len(), x.payloads().len()), (2.0, 2, 2));
    says(&gateways[0], &["a loop", "hops=\"one/y two/x\""]);
}

/// And where no mark travels it is found, named, and stopped.
#[test]
fn a_loop_over_two_gateways_without_marks_is_found_and_ended() {
    let (x, y) = (ScriptedBroker::start(Script::amqtt()), ScriptedBroker::start(Script::amqtt()));
    let gateway = |id: &str, from: (&str, &str), to: (&str, &str)| {
        let link = |name: &str, url: &str| link(name, url, "3.1.1", &format!("client_id = \"{id}-{name}\"\n"));
        let config = link(from.0, from.1) + &link(to.0, to.1) + &named_route("over", from.0, &["a/#"], 1, &[to.0], "");
        Tidegate::start(&named(id, &config))
    };
    let (at_x, at_y) = (x.url(), y.url());
    let gateways = [gateway("one", ("x", &at_x), ("y", &at_y)), gateway("two", ("y", &at_y), ("x", &at_x))];
    send(&x, "a/b", 1, ["round".to_owned()]);
    let found =
        || gateways.iter().map(|one| one.metrics().get("tidegate_routes_looping", &[]).unwrap_or(0.0)).sum::<f64>();
    eventually("a loop is found", PATIENCE, || found() >= 1.0);
    // Which goes on carrying what it has not carried.
    send(&x, "a/b", 1, ["another".to_owned()]);
    arrives(&y, "another");
    let log = gateways.iter().map(Tidegate::log).collect::<String>();
    assert!(log.contains("comes back through another gateway") && log.contains("a/b"), "{log}");
}

#[test]
fn what_no_local_stops_is_no_ring() {
    let (x, y) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let config = link("x", &x.url(), "5", "")
        + &link("y", &y.url(), "5", "")
        + &named_route("there", "x", &["a/#"], 1, &["y"], "")
        + &named_route("back", "y", &["a/#"], 1, &["x"], "");
    let tidegate = Tidegate::start(&config);
    send(&x, "a/b", 1, numbered(20));
    arrives(&y, "n0019");
    send(&y, "a/b", 1, ["end".to_owned()]);
    arrives(&x, "end");
    drained(&tidegate);
    assert_eq!((x.payloads(), y.payloads()), (vec!["end".to_owned()], numbered(20)));
}

#[test]
fn tls_to_a_plain_port_is_a_hint() {
    let plain = Mosquitto::start();
    let tidegate = Tidegate::builder(&link("x", &format!("mqtts://localhost:{}", plain.port()), "auto", "")).spawn();
    says(&tidegate, &["broker=\"x\"", "mqtt://"]);
}

#[test]
fn plain_to_a_tls_port_is_a_hint() {
    let certs = Certs::new();
    let tls = Mosquitto::builder().tls(&certs).start();
    for version in ["auto", "5", "3.1.1"] {
        let tidegate =
            Tidegate::builder(&link("x", &format!("mqtt://localhost:{}", tls.tls_port()), version, "")).spawn();
        says(&tidegate, &["broker=\"x\"", "mqtts://"]);
    }
}

#[test]
fn two_with_one_client_id_are_a_hint() {
    for (version, end) in [("5", End::says(0x8e)), ("5", End::fin()), ("3.1.1", End::fin())] {
        let x = ScriptedBroker::start(Script::new().always(Habit::EndAfterConnack(end)));
        let tidegate = Tidegate::builder(&link("x", &x.url(), version, "")).spawn();
        says(&tidegate, &["broker=\"x\"", "client_id"]);
    }
}

#[test]
fn a_web_server_in_the_place_of_a_broker_is_a_hint() {
    let plain = OneAnswer::start(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let tidegate = Tidegate::builder(&link("x", &format!("mqtt://127.0.0.1:{}", plain.port()), "auto", "")).spawn();
    says(&tidegate, &["broker=\"x\"", "http"]);
}

#[test]
fn what_a_web_server_answers_to_a_websocket_is_told() {
    let answers: [(&[u8], &[&str]); 3] = [
        (
            b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://elsewhere.example/mqtt\r\nContent-Length: 0\r\n\r\n",
            &["301", "elsewhere.example"],
        ),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", &["403"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", &["200"]),
    ];
    for (answer, words) in answers {
        let server = OneAnswer::start(answer);
        let tidegate =
            Tidegate::builder(&link("x", &format!("ws://127.0.0.1:{}/mqtt", server.port()), "auto", "")).spawn();
        says(&tidegate, &[&["not connected", "x"], words].concat());
    }
}

/// A CONNACK of another kind, junk, half a packet: in words, without a word of a panic.
#[test]
fn junk_in_the_place_of_an_answer_is_told() {
    for junk in [&b"\xff\xff\xff\xff\xff"[..], b"\x20\x02\x00", b"hello, world\r\n", b""] {
        let x = ScriptedBroker::start(
            Script::new().always(Habit::AnswerHello(&[4, 5, 0x84], Answer::Bytes(junk.to_vec()))),
        );
        let tidegate = Tidegate::builder(&link("x", &x.url(), "auto", "")).spawn();
        says(&tidegate, &["not connected", "x"]);
        assert_eq!(lines_with(&tidegate, &["panic"]), 0);
    }
}
