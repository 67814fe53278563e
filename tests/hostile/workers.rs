//! Routes with several instances of their plugins.

use super::*;

/// Traps at `poison`, for ever; passes everything else.
const STUCK: &str = "config = { mode = \"trap\", only = \"poison\" }";
const BLOCKS: &str = "on_failure = \"block\"\nretry = { attempts = 1, min = \"10ms\", max = \"100ms\" }";
const MESSAGES: usize = 40;

fn with_workers<'a>(route: &'a str, plugin: &'a str) -> Bad<'a> {
    Bad { component: "hostile", plugin, route }
}

/// Publishes one message each to `bad/0`, `bad/1` and so on, and the poison to `bad/0`, in front of them.
fn send_poison_and_others(house: &House) {
    send(&mut house.client(), std::iter::once("poison").chain(std::iter::repeat_n("good", MESSAGES - 1)));
}

#[test]
fn one_that_is_stuck_holds_up_its_own_topics_only() {
    let house = House::new();
    let route = format!("{BLOCKS}\nworkers = 2");
    let tidegate = house.gateway(&with_workers(&route, STUCK)).start();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    send_poison_and_others(&house);
    // About half of the topics are the other worker's.
    eventually("what the other worker has comes", PATIENCE, || arrived.count() >= MESSAGES / 4);
    assert!(arrived.count() < MESSAGES - 1, "all of them came past the poison");

    // One worker again, of a version that takes it: all come, each once.
    tidegate.edit_config(&house.config(&with_workers(BLOCKS, "config = { mode = \"pass\" }")));
    eventually("the rest comes", PATIENCE, || arrived.count() >= MESSAGES);
    let metrics = assert_balanced(&tidegate);
    assert_eq!((arrived.count(), of_bad(&metrics, "tidegate_route_parked_total")), (MESSAGES, 0));
}

#[test]
fn with_one_worker_it_holds_up_all() {
    let house = House::new();
    let tidegate = house.gateway(&with_workers(BLOCKS, STUCK)).start();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    send_poison_and_others(&house);
    eventually("it is asked again", PATIENCE, || of_bad(&tidegate.metrics(), "tidegate_plugin_retries_total") > 5);
    assert_eq!(arrived.count(), 0);
}

#[test]
fn other_numbers_of_workers_under_traffic_lose_repeat_and_reorder_nothing() {
    let house = House::new();
    let numbers = ["", "workers = 3", "workers = { count = 2, level = 1 }", "workers = { count = 3, level = 0 }"];
    let config = |at: usize| house.config(&with_workers(numbers[at % numbers.len()], "config = { mode = \"pass\" }"));
    let tidegate = house.gateway(&with_workers("", "config = { mode = \"pass\" }")).start();
    let (honest, ledger) = (house.honest_traffic(), Ledger::new());
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &ledger);
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher-bad"), "bad/{key}");
    options.rate = 2_000;
    let publisher = Publisher::start(house.home.port(), options, &ledger);
    for turn in 1..=20 {
        let before = arrived.count();
        eventually("messages come", PATIENCE, || arrived.count() > before + 20);
        tidegate.edit_config(&config(turn));
        let reloads = || tidegate.metrics().get("tidegate_reloads_total", &[]);
        eventually("it is taken over", PATIENCE, || reloads() >= Some(turn as f64));
    }
    let sent = publisher.stop() as usize;
    within(PATIENCE, || arrived.count() >= sent);
    ledger.check("bad").assert_exactly_once().assert_in_order().assert_published(sent);
    house.assert_honest(honest);
    assert_balanced(&tidegate);
}

#[test]
fn a_route_is_removed_while_its_workers_are_being_exchanged() {
    let house = House::new();
    let tidegate = house.gateway(&with_workers(BLOCKS, STUCK)).start();
    send_poison_and_others(&house);
    eventually("it is stuck", PATIENCE, || of_bad(&tidegate.metrics(), "tidegate_plugin_retries_total") > 0);
    let two = house.config(&with_workers(&format!("{BLOCKS}\nworkers = 2"), STUCK));
    tidegate.edit_config(&two);
    let (without, _) = two.rsplit_once("[[routes]]").unwrap();
    tidegate.edit_config(without);
    let unacknowledged = || tidegate.metrics().get("tidegate_unacknowledged", &[]);
    eventually("their source has them back", PATIENCE, || unacknowledged() == Some(0.0));
    assert_balanced(&tidegate);
}
