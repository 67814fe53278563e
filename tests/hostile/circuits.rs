//! Poison, circuits, retries.

use super::*;

/// Traps for a message with `poison` in it.
const POISON: Bad<'_> =
    Bad { component: "hostile", plugin: r#"config = { mode = "trap", only = "poison" }"#, route: "" };

/// So many faults in a row open a circuit.
const FAULTS_IN_A_ROW: usize = 8;

#[test]
fn poison_costs_only_its_own_messages() {
    let house = House::new();
    let tidegate = house.gateway(&POISON).start();
    let honest = house.honest_traffic();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    let is_poison = |n: &u64| n % 7 == 3;
    let word = |n: u64| if is_poison(&n) { "poison" } else { "good" };
    send(&mut house.client(), (0..500).map(|n| format!("{{\"{}\":{n}}}", word(n))));
    let good: Vec<String> = (0..500).filter(|n| !is_poison(n)).map(|n| format!("{{\"good\":{n}}}")).collect();
    within(PATIENCE, || arrived.count() >= good.len());
    assert_eq!(arrived.arrivals().into_iter().map(|arrival| arrival.payload).collect::<Vec<_>>(), good);
    let metrics = settled(&tidegate, 500);
    let poisoned = (0..500).filter(is_poison).count() as u64;
    assert_eq!(faults(&metrics, "trap"), poisoned);
    assert_eq!(of_bad(&metrics, "tidegate_route_parked_total"), poisoned);
    assert_eq!(of_bad(&metrics, "tidegate_plugin_circuit_opened_total"), 0);
    house.assert_honest(honest);
    assert_balanced(&tidegate);
}

#[test]
fn a_circuit_opens_on_repeated_failure_and_closes_when_messages_are_good_again() {
    let house = House::new();
    let tidegate = house.gateway(&POISON).start();
    let honest = house.honest_traffic();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    let mut client = house.client();
    send(&mut client, ["poison"; FAULTS_IN_A_ROW]);
    let mut sent = FAULTS_IN_A_ROW as u64;
    let metrics = settled(&tidegate, sent);
    assert_eq!(of_bad(&metrics, "tidegate_plugin_circuit_opened_total"), 1);
    tidegate.wait_for_log("its circuit opens", PATIENCE);
    eventually("a message comes while it is open, and is not shown to the plugin", PATIENCE, || {
        send(&mut client, ["poison"]);
        sent += 1;
        of_bad(&settled(&tidegate, sent), "tidegate_plugin_circuit_open_total") > 0
    });
    let opened = of_bad(&tidegate.metrics(), "tidegate_plugin_circuit_opened_total");

    // Half open, it fails again; then it is given a good one.
    eventually("the circuit opens again after a bad probe", PATIENCE, || {
        send(&mut client, ["poison"]);
        sent += 1;
        of_bad(&settled(&tidegate, sent), "tidegate_plugin_circuit_opened_total") == opened + 1
    });
    assert_eq!(of_bad(&tidegate.metrics(), "tidegate_route_parked_total"), sent, "asked or not, all are parked");
    eventually("a good probe closes it", PATIENCE, || {
        send(&mut client, ["good"]);
        sent += 1;
        of_bad(&settled(&tidegate, sent), "tidegate_route_out_total") == 1
    });
    send(&mut client, ["good"; 50]);
    let metrics = settled(&tidegate, sent + 50);
    assert_eq!(of_bad(&metrics, "tidegate_route_out_total"), 51, "all that came after the probe was decided");
    eventually("it arrives", PATIENCE, || arrived.count() == 51);
    assert_eq!(of_bad(&metrics, "tidegate_plugin_circuit_opened_total"), opened + 1);
    house.assert_honest(honest);
    assert_balanced(&tidegate);
}

/// The plugin before it drops what would have been the probe.
#[test]
fn a_circuit_closes_also_behind_a_plugin_that_drops() {
    let house = House::new();
    let gate =
        "[plugins.gate]\npath = \"plugins/gate.wasm\"\nconfig = { by = \"topic\", table = { \"bad/0\" = \"drop\" } }";
    let config = house.config(&POISON).replace("[plugins.bad]", &format!("{gate}\n[plugins.bad]"));
    let config = config.replace("plugins = [\"bad\"]", "plugins = [\"gate\", \"bad\"]");
    let builder = Tidegate::builder(&config).file("plugins/gate.wasm", plugin("route-by-field"));
    let builder = builder.file("plugins/honest.wasm", plugin("versioned-v1"));
    let tidegate = builder.file("plugins/bad.wasm", plugin("hostile")).start();
    let mut client = house.client();
    for _ in 0..FAULTS_IN_A_ROW {
        client.publish("bad/1", b"poison", 1, false).unwrap();
    }
    let mut sent = FAULTS_IN_A_ROW as u64;
    assert_eq!(of_bad(&settled(&tidegate, sent), "tidegate_plugin_circuit_opened_total"), 1);
    eventually("a good message comes through", PATIENCE, || {
        // So many that one of them comes when the time of the probe has come.
        for topic in ["bad/0"; 50].into_iter().chain(["bad/1"]) {
            client.publish(topic, b"good", 1, false).unwrap();
            sent += 1;
            settled(&tidegate, sent);
        }
        of_bad(&tidegate.metrics(), "tidegate_route_out_total") > 0
    });
    assert_balanced(&tidegate);
}

#[test]
fn retries_are_bounded() {
    let house = House::new();
    let route = "retry = { attempts = 4, min = \"10ms\", max = \"20ms\" }";
    let bad = Bad { component: "hostile", plugin: r#"config = { mode = "retry", only = "poison" }"#, route };
    let tidegate = house.gateway(&bad).start();
    let honest = house.honest_traffic();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    send(&mut house.client(), ["good", "poison", "good", "poison", "good"]);
    let metrics = settled(&tidegate, 5);
    assert_eq!(of_bad(&metrics, "tidegate_plugin_retries_total"), 2 * 4);
    let kinds: Vec<Value> = parked(&tidegate).into_iter().map(|mut parked| parked["kind"].take()).collect();
    assert_eq!(kinds, ["retries_exhausted", "retries_exhausted"]);
    eventually("the others arrive", PATIENCE, || arrived.count() == 3);
    house.assert_honest(honest);
    assert_balanced(&tidegate);
}

#[test]
fn what_is_parked_is_bounded() {
    const PARKED_MAX: u64 = 10_000;
    let house = House::new();
    let tidegate = house.gateway(&Bad { plugin: r#"config = { mode = "reject" }"#, ..POISON }).start();
    let mut client = house.client();
    let count = PARKED_MAX + 500;
    send(&mut client, (0..count).map(|_| [b'x'; 1_000]));
    let metrics = settled(&tidegate, count);
    assert_eq!(of_bad(&metrics, "tidegate_route_parked_total"), PARKED_MAX);
    let full = [("route", "bad"), ("reason", "parking_full")];
    assert_eq!(metrics.get("tidegate_route_dropped_total", &full), Some(500.0));
    assert!(memory_peak_bytes(tidegate.pid()) <= MEMORY_MAX_BYTES);
    assert_balanced(&tidegate);
}

/// The traps are told with the words of the guest, where they are counted and where the message is kept.
#[test]
fn a_plugin_that_starts_anew_is_seen_to_do_so() {
    let house = House::new();
    let bad = Bad { component: "hostile", plugin: r#"config = { mode = "trap", only = "poison" }"#, route: "" };
    let tidegate = house.gateway(&bad).start();
    send(&mut house.client(), ["good", "poison", "good"]);
    let metrics = settled(&tidegate, 3);
    let restarts = metrics.get("tidegate_plugin_restarts_total", &[("plugin", "bad"), ("kind", "trap")]);
    assert!(restarts >= Some(1.0), "{restarts:?}");
    let memory = metrics.get("tidegate_plugin_memory_bytes", &[("plugin", "bad")]);
    assert!(memory >= Some(65_536.0), "{memory:?}");
    let told = "the plugin starts anew";
    eventually("it is told", PATIENCE, || tidegate.log().contains(told));
    let reason = parked(&tidegate)[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("it said: ") && reason.contains("panicked"), "{reason}");
}
