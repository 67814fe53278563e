//! Whole brokers, by their habits: both ways, with links that break, each with what it hangs up on.

use super::*;
use std::collections::BTreeSet;
use std::time::Duration;
use tidegate_testkit::{End, Script};

/// With what is only taken as done after a minute.
const LONG: Duration = Duration::from_secs(120);

const MANY: usize = 60;

/// A broker of that kind, `x`, and a good one far away; messages of each QoS both ways over a link that breaks three times;
/// in the end everything has arrived and nothing waits.
#[track_caller]
fn carries(name: &str, script: Script) -> (ScriptedBroker, ScriptedBroker, Tidegate) {
    let (x, far) = (ScriptedBroker::start(script), ScriptedBroker::start(Script::new()));
    let config = link("x", &x.url(), "auto", "")
        + &link("far", &far.url(), "5", "")
        + &named_route("up", "x", &["u/#"], 2, &["far"], "")
        + &named_route("down", "far", &["d/#"], 2, &["x"], "");
    let tidegate = Tidegate::start(&config);
    let all = numbered(MANY);
    for (n, payload) in all.iter().enumerate() {
        let qos = 1 + (n % 2) as u8;
        send(&x, "u/x", qos, [format!("up-{payload}")]);
        send(&far, "d/x", qos, [format!("down-{payload}")]);
        if n % 20 == 19 {
            x.cut(&if n % 40 == 19 { End::reset() } else { End::fin() });
        }
    }
    let came = |broker: &ScriptedBroker, way: &str| {
        let came: BTreeSet<String> = broker.payloads().into_iter().collect();
        all.iter().filter(|payload| came.contains(&format!("{way}-{payload}"))).count()
    };
    let done = within(LONG, || came(&far, "up") == MANY && came(&x, "down") == MANY);
    assert!(
        done,
        "{name}: {} up, {} down of {MANY}{}\n{}",
        came(&far, "up"),
        came(&x, "down"),
        x.tail(),
        tidegate.log()
    );
    let settled = within(LONG, || {
        let metrics = tidegate.metrics();
        ["tidegate_route_in_flight", "tidegate_unacknowledged", "tidegate_spool_queued"]
            .iter()
            .all(|name| metrics.get(name, &[]).unwrap_or(0.0) == 0.0)
            && tidegate.is_ready()
    });
    assert!(settled, "{name}: something waits{}\n{}", x.tail(), tidegate.log());
    assert_eq!(parked(&tidegate), Vec::<Value>::new(), "{name}\n{}", tidegate.log());
    (x, far, tidegate)
}

/// One message costs itself only: the next ones arrive, over as few connections as finding it takes.
#[track_caller]
fn goes_on(x: &ScriptedBroker, far: &ScriptedBroker, tidegate: &Tidegate, bad: Message) {
    far.publish(bad);
    send(far, "d/x", 1, ["behind".to_owned()]);
    arrives(x, "behind");
    assert_eq!(are_parked(tidegate, 1)[0]["kind"], "refused_by_target");
    drained(tidegate);
}

#[test]
fn rabbitmq() {
    let (x, far, tidegate) = carries("RabbitMQ", Script::rabbitmq());
    send(&x, "u/a*b", 1, ["starred".to_owned()]);
    send(&x, "u/a", 1, ["behind".to_owned()]);
    arrives(&far, "behind");
    acknowledged(&x);
    counts(&tidegate, "tidegate_skipped_total", &[("broker", "x"), ("reason", "bad_topic")], 1);
}

#[test]
fn ejabberd() {
    carries("ejabberd", Script::ejabberd());
}

#[test]
fn nats() {
    let (x, far, tidegate) = carries("NATS", Script::nats());
    assert!(x.published().iter().all(|taken| taken.message.qos < 2));
    goes_on(&x, &far, &tidegate, Message::new("d/a.b", b"dotted").at(1));
}

#[test]
fn amqtt() {
    carries("amqtt", Script::amqtt());
}

#[test]
fn aedes() {
    carries("aedes", Script::aedes());
}

#[test]
fn rumqttd_for_3_1_1() {
    let (x, far, tidegate) = carries("rumqttd", Script::rumqttd_v4());
    goes_on(&x, &far, &tidegate, Message::new("d/large", vec![b'x'; 20_480]).at(1));
}

#[test]
fn rumqttd_for_5() {
    let (x, far, tidegate) = carries("rumqttd", Script::rumqttd_v5());
    goes_on(&x, &far, &tidegate, Message::new("d/large", vec![b'x'; 20_480]).at(1));
}

#[test]
fn mosca() {
    carries("mosca", Script::mosca());
}

/// What is retained comes before SUBACK, with the flag, and is a message like any other.
#[test]
fn what_is_retained_may_come_before_the_suback() {
    let (x, far) = (ScriptedBroker::start(Script::amqtt()), ScriptedBroker::start(Script::new()));
    x.publish(Message::new("u/old", b"old").at(1).retained());
    let config = link("x", &x.url(), "3.1.1", "")
        + &link("far", &far.url(), "5", "")
        + &named_route("up", "x", &["u/#"], 1, &["far"], "");
    let _tidegate = Tidegate::start(&config);
    arrives(&far, "old");
    assert!(far.published()[0].message.retain);
}

/// The two that were deaf without a word: the connection ends at the SUBSCRIBE, and the session is there at the return.
#[test]
fn a_broker_that_ends_the_connection_at_a_filter_is_not_ready() {
    for (script, filter) in [(Script::ejabberd(), "$share/g/t"), (Script::rumqttd_v5(), "$SYS/#")] {
        let (x, far) = (ScriptedBroker::start(script), ScriptedBroker::start(Script::new()));
        let config = link("x", &x.url(), "5", "")
            + &link("far", &far.url(), "5", "")
            + &named_route("up", "x", &["u/#", filter], 1, &["far"], "");
        let tidegate = Tidegate::builder(&config).spawn();
        not_ready(&tidegate, &["x", filter]);
        eventually("the other one lives", PATIENCE, || x.filters() == ["u/#"]);
    }
}

/// ejabberd says it in 3.1.1 too.
#[test]
fn a_filter_of_too_many_levels_is_refused_in_words() {
    let (x, far) = (ScriptedBroker::start(Script::ejabberd()), ScriptedBroker::start(Script::new()));
    let filter = "a/b/c/d/e/f/g/h/#";
    for version in ["3.1.1", "5"] {
        let config = link("x", &x.url(), version, "")
            + &link("far", &far.url(), "5", "")
            + &named_route("up", "x", &["u/#", filter], 1, &["far"], "");
        let tidegate = Tidegate::builder(&config).spawn();
        not_ready(&tidegate, &["x", filter]);
    }
}
