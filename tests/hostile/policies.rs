//! `on_failure`, and what an operator does with what is parked.

use super::*;

const TRAP: &str = r#"config = { mode = "trap" }"#;
const PASS: &str = r#"config = { mode = "pass" }"#;

#[test]
fn what_is_parked_is_listed_shown_replayed_and_deleted() {
    let house = House::new();
    let bad = Bad { component: "hostile", plugin: TRAP, route: "" };
    let tidegate = house.gateway(&bad).start();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    send(&mut house.client(), ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    settled(&tidegate, 3);

    let listed: Vec<Value> = serde_json::from_str(&operator(&tidegate, &["list"])).unwrap();
    assert_eq!(listed, parked(&tidegate), "the command and the listener say the same");
    let topics: Vec<&str> = listed.iter().filter_map(|parked| parked["topic"].as_str()).collect();
    assert_eq!(topics, ["bad/0", "bad/1", "bad/2"], "the topics they came with");
    let first = &listed[0];
    assert_eq!((&first["route"], &first["plugin"], &first["kind"]), (&"bad".into(), &"bad".into(), &"trap".into()));
    assert!(first["reason"].as_str().unwrap().contains("trap"), "{first}");
    assert_eq!((&first["qos"], &first["payload_bytes"]), (&1.into(), &7.into()));
    let number = |at: usize| listed[at]["number"].to_string();
    let aside = "put a message aside";
    eventually("each is told", PATIENCE, || tidegate.log().matches(aside).count() == 3);
    let log = tidegate.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(aside)).collect();
    for word in ["WARN", "route=\"bad\"", "plugin=\"bad\"", "kind=\"trap\"", "topic=bad/0"] {
        assert!(told[0].contains(word), "no {word} in {}", told[0]);
    }
    let shown: Value = serde_json::from_str(&operator(&tidegate, &["show", &number(1)])).unwrap();
    assert_eq!(shown["payload"], "{\"n\":1}");

    // Replayed too early, it is parked again, under another number.
    operator(&tidegate, &["replay", &number(0)]);
    eventually("it is parked again", PATIENCE, || {
        of_bad(&tidegate.metrics(), "tidegate_route_parked_total") == 4 && parked(&tidegate).len() == 3
    });
    operator(&tidegate, &["delete", &number(2)]);
    assert_eq!(parked(&tidegate).len(), 2);

    let config = house.config(&Bad { plugin: PASS, ..bad });
    tidegate.edit_config(&config);
    eventually("the good version runs", PATIENCE, || tidegate.log().contains("plugins.bad.config.mode changed"));
    for parked in parked(&tidegate) {
        operator(&tidegate, &["replay", &parked["number"].to_string()]);
    }
    eventually("both arrive", PATIENCE, || arrived.count() >= 2);
    let mut payloads: Vec<_> = arrived.arrivals().into_iter().map(|a| (a.topic, a.payload)).collect();
    payloads.sort();
    let expected = [("from-bad/0", "{\"n\":0}"), ("from-bad/1", "{\"n\":1}")];
    assert_eq!(payloads, expected.map(|(topic, payload)| (topic.to_owned(), payload.to_owned())));
    assert_eq!(parked(&tidegate), Vec::<Value>::new());
    let metrics = assert_balanced(&tidegate);
    assert_eq!(metrics.get("tidegate_parked", &[]), Some(0.0));
    assert_eq!(of_bad(&metrics, "tidegate_route_replayed_total"), 3);
    // What is not there is said so.
    let config = tidegate.dir().join("tidegate.toml").display().to_string();
    let output = run(&["parked", "show", "4711", "--config", &config]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no message 4711 is parked"), "{output:?}");
}

#[test]
fn what_fails_is_dropped_and_counted_where_the_route_says_so() {
    let house = House::new();
    let bad = Bad { component: "hostile", plugin: TRAP, route: "on_failure = \"drop\"" };
    let tidegate = house.gateway(&bad).start();
    let honest = house.honest_traffic();
    send(&mut house.client(), ["x"; 20]);
    let metrics = settled(&tidegate, 20);
    let dropped = [("route", "bad"), ("reason", "plugin_failed")];
    assert_eq!(metrics.get("tidegate_route_dropped_total", &dropped), Some(20.0));
    assert_eq!(parked(&tidegate), Vec::<Value>::new());
    house.assert_honest(honest);
    assert_balanced(&tidegate);
}

#[test]
fn what_fails_goes_on_as_it_came_where_the_route_says_so() {
    let house = House::new();
    let bad = Bad { component: "hostile", plugin: TRAP, route: "on_failure = \"pass\"" };
    let tidegate = house.gateway(&bad).start();
    let honest = house.honest_traffic();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    let payloads: Vec<String> = (0..20).map(|n| format!("{{\"n\":{n}}}")).collect();
    send(&mut house.client(), &payloads);
    eventually("all of it comes", PATIENCE, || arrived.count() >= 20);
    assert_eq!(arrived.arrivals().into_iter().map(|arrival| arrival.payload).collect::<Vec<_>>(), payloads);
    assert!(faults(&settled(&tidegate, 20), "trap") > 0);
    house.assert_honest(honest);
    assert_balanced(&tidegate);
}

#[test]
fn a_route_that_blocks_loses_nothing_and_goes_on_in_order_with_a_good_version() {
    // More than any window between a broker and the gateway.
    blocked_and_resumed(3_000, "");
}

/// mosquitto up to 2.0.11 at least sends more than it may once it is acknowledged again.
#[test]
fn a_broker_that_does_not_keep_to_our_window_is_not_left() {
    blocked_and_resumed(500, "receive_maximum = 10");
}

#[track_caller]
fn blocked_and_resumed(messages: usize, home: &str) {
    let house = House::new();
    let route = "on_failure = \"block\"\nretry = { attempts = 1, min = \"10ms\", max = \"100ms\" }";
    let bad = Bad { component: "hostile", plugin: TRAP, route };
    let config = |bad: &Bad<'_>| house.config(bad).replace("[brokers.home]", &format!("[brokers.home]\n{home}"));
    let builder = Tidegate::builder(&config(&bad)).file("plugins/honest.wasm", plugin("versioned-v1"));
    let tidegate = builder.file("plugins/bad.wasm", plugin("hostile")).start();
    let honest = house.honest_traffic();
    let ledger = Ledger::new();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &ledger);
    let client = ClientOptions::new(Version::V5, "publisher-bad");
    let mut options = PublisherOptions::new(client, "bad/{key}");
    options.count = Some(messages as u64);
    Publisher::start(house.home.port(), options, &ledger).finish(PATIENCE);
    eventually("the plugin is asked again and again", PATIENCE, || {
        of_bad(&tidegate.metrics(), "tidegate_plugin_retries_total") > 5
    });
    let metrics = tidegate.metrics();
    assert!(metrics.get("tidegate_unacknowledged", &[]) > Some(0.0), "their source has not been told");
    assert_eq!((arrived.count(), of_bad(&metrics, "tidegate_route_parked_total")), (0, 0));

    tidegate.edit_config(&config(&Bad { plugin: PASS, ..bad }));
    within(PATIENCE, || arrived.count() >= messages);
    ledger.check("bad").assert_exactly_once().assert_in_order().assert_published(messages);
    house.assert_honest(honest);
    let metrics = assert_balanced(&tidegate);
    assert_eq!(metrics.get("tidegate_broker_connects_total", &[("broker", "home")]), Some(1.0));
}

#[test]
fn a_route_that_blocks_parks_what_the_plugin_will_never_decide() {
    let house = House::new();
    let plugin = r#"config = { mode = "reject", only = "poison" }"#;
    let bad = Bad { component: "hostile", plugin, route: "on_failure = \"block\"" };
    let tidegate = house.gateway(&bad).start();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    send(&mut house.client(), ["good", "poison", "good"]);
    eventually("those behind it come", PATIENCE, || arrived.count() >= 2);
    let metrics = settled(&tidegate, 3);
    assert_eq!(of_bad(&metrics, "tidegate_plugin_rejects_total"), 1);
    assert_eq!(parked(&tidegate)[0]["kind"], "reject");
    assert_balanced(&tidegate);
}

#[test]
fn a_gateway_that_blocks_still_ends() {
    let house = House::new();
    let bad = Bad { component: "hostile", plugin: TRAP, route: "on_failure = \"block\"" };
    let mut tidegate = house.gateway(&bad).arg("--drain").arg("200ms").start();
    send(&mut house.client(), ["x"; 5]);
    eventually("it is stuck", PATIENCE, || of_bad(&tidegate.metrics(), "tidegate_plugin_retries_total") > 0);
    let status = tidegate.terminate(PATIENCE);
    assert!(status.success(), "{status}\n{}", tidegate.log());
    eventually("it says what is left", PATIENCE, || tidegate.log().contains("not delivered in time"));

    // Never acknowledged, they come again; by a good version this time.
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    tidegate.edit_config(&house.config(&Bad { plugin: PASS, ..bad }));
    tidegate.restart();
    eventually("all five come", PATIENCE, || arrived.count() >= 5);
    assert_balanced(&tidegate);
}

#[test]
fn a_blocked_route_that_is_removed_gives_its_messages_back_and_may_return_without_the_plugin() {
    let house = House::new();
    let bad = Bad { component: "hostile", plugin: TRAP, route: "on_failure = \"block\"" };
    let tidegate = house.gateway(&bad).start();
    send(&mut house.client(), ["x"; 5]);
    eventually("it is stuck", PATIENCE, || of_bad(&tidegate.metrics(), "tidegate_plugin_retries_total") > 0);
    let unacknowledged = || tidegate.metrics().get("tidegate_unacknowledged", &[]);
    assert_eq!(unacknowledged(), Some(5.0));
    let all = house.config(&bad);
    let (without, _) = all.rsplit_once("[[routes]]").unwrap();
    tidegate.edit_config(without);
    eventually("their source has them back", PATIENCE, || unacknowledged() == Some(0.0));

    // The same route again, a plain bridge now.
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    tidegate.edit_config(&all.replace("plugins = [\"bad\"]", "plugins = []"));
    eventually("the route is back", PATIENCE, || tidegate.log().contains("routes.bad added"));
    // And its source has granted the subscription.
    eventually("it is subscribed", PATIENCE, || tidegate.get("/ready").is_ok_and(|(status, _)| status == 200));
    send(&mut house.client(), ["y"; 5]);
    eventually("it carries", PATIENCE, || arrived.count() >= 5);
    let metrics = assert_balanced(&tidegate);
    let dropped = metrics.get("tidegate_route_dropped_total", &[("route", "bad"), ("reason", "route_removed")]);
    assert_eq!(dropped, Some(5.0));
}
