//! What a plugin may send and import is what it was granted, no more.

use super::*;

const BASE: Bad<'_> = Bad { component: "hostile", plugin: "", route: "" };

#[test]
fn a_granted_target_is_reached_and_no_other() {
    let house = House::new();
    let plugin = "config = { mode = \"foreign-target\", name = \"office\" }\ngrants = { targets = [\"office\"] }";
    let tidegate = house.gateway(&Bad { plugin, ..BASE }).start();
    let all = house.witness();
    send(&mut house.client(), ["x", "y"]);
    eventually("both arrive", PATIENCE, || all.count() == 2);
    let topics: Vec<String> = all.arrivals().into_iter().map(|arrival| arrival.topic).collect();
    assert_eq!(topics, ["bad/0", "bad/1"], "straight to a target nothing is remapped");
    let metrics = settled(&tidegate, 2);
    assert_eq!(of_bad(&metrics, "tidegate_plugin_faults_total"), 0);
    assert_balanced(&tidegate);
}

#[test]
fn a_granted_topic_is_chosen_and_no_other() {
    let house = House::new();
    let plugin =
        "config = { mode = \"bad-topic\", name = \"bad/chosen\", only = \"1\" }\ngrants = { topics = [\"bad/+\"] }";
    let bad = Bad { plugin, ..BASE };
    let tidegate = house.gateway(&bad).start();
    let all = house.witness();
    send(&mut house.client(), ["1", "2"]);
    eventually("both arrive", PATIENCE, || all.count() == 2);
    let topics: Vec<String> = all.arrivals().into_iter().map(|arrival| arrival.topic).collect();
    assert_eq!(topics, ["from-bad/chosen", "from-bad/1"], "what it chose is remapped like any other");

    // The grant taken away, the same is a fault.
    tidegate.edit_config(&house.config(&bad).replace("grants = { topics = [\"bad/+\"] }", ""));
    eventually("it is applied", PATIENCE, || tidegate.log().contains("plugins.bad.grants.topics changed"));
    send(&mut house.client(), ["1", "2"]);
    eventually("the honest half arrives", PATIENCE, || all.count() == 3);
    let metrics = settled(&tidegate, 4);
    assert_eq!(faults(&metrics, "foreign_topic"), 1);
    assert_balanced(&tidegate);
}

#[test]
fn granted_state_is_kept_and_undone_with_the_message_that_failed() {
    let house = House::new();
    let bad = Bad { component: "imports-state", plugin: "grants = { state = true }", route: "" };
    let tidegate = house.gateway(&bad).start();
    let all = house.witness();
    send(&mut house.client(), ["x", "poison", "x", "poison", "x"]);
    eventually("three arrive", PATIENCE, || all.count() == 3);
    let counts: Vec<String> = all.arrivals().into_iter().map(|arrival| arrival.mark).collect();
    assert_eq!(counts, ["1", "2", "3"]);
    let metrics = settled(&tidegate, 5);
    assert_eq!((faults(&metrics, "trap"), of_bad(&metrics, "tidegate_route_parked_total")), (2, 2));
    assert_balanced(&tidegate);
}
