//! What a plugin remembers goes on in a version that remembers it in another way, and is never that of half of one: `remembers` says behind
//! each message which version decided it, and how many of its topic it has counted.

use super::*;
use std::collections::BTreeMap;

const FILE: &str = "plugins/remembers.wasm";

/// Two routes with several workers, which share what the plugin remembers.
fn config(house: &House, config: &str, rest: &str) -> String {
    let route = |name: &str, from: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\nfrom = {{ broker = \"home\", topics = [\"{from}/+/temp\"] }}\nworkers = 2\n\
             plugins = [\"remembers\"]\nto = [\"office\"]\nremap = {{ prefix = \"main/\" }}\n"
        )
    };
    house.config(&format!(
        "[plugins.remembers]\npath = \"{FILE}\"\nconfig = {config}\ngrants = {{ state = \"shared\" }}\n\
         limits = {{ deadline = \"5s\" }}\n{rest}\n{}{}",
        route("here", "here"),
        route("there", "there")
    ))
}

fn gateway(house: &House, version: &str) -> Tidegate {
    Tidegate::builder(&config(house, "{}", "")).file(FILE, plugin(&format!("remembers-{version}"))).start()
}

/// This version decides what is published here.
fn under_way(version: &str) -> (House, Tidegate, Witness, Publisher) {
    let house = House::new();
    let tidegate = gateway(&house, version);
    let witness = house.witness("main");
    let publisher = house.publish("here", RATE);
    decides(&tidegate, &witness, version);
    (house, tidegate, witness, publisher)
}

/// Saves another version, and waits until it decides.
#[track_caller]
fn save(tidegate: &Tidegate, witness: &Witness, version: &str) {
    applied_after(tidegate, || tidegate.replace_file(FILE, &plugin(&format!("remembers-{version}"))));
    decides(tidegate, witness, version);
}

#[track_caller]
fn decides(tidegate: &Tidegate, witness: &Witness, version: &str) {
    let mark = format!(" {version} ");
    let before = witness.count();
    let is_so = within(PATIENCE, || witness.count() > before && witness.last_mark().starts_with(&mark));
    assert!(
        is_so,
        "{version} does not decide: {} {} {:?}\n{}",
        before,
        witness.count(),
        witness.last_mark(),
        tidegate.log()
    );
}

/// The counts of each topic, each with the version that counted it.
fn counts(witness: &Witness) -> BTreeMap<String, Vec<(String, u64)>> {
    let mut counts: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for arrival in witness.arrivals() {
        let (version, count) = arrival.mark.trim().split_once(' ').expect("a version and a count");
        let counted = (version.to_owned(), count.parse().expect("a count"));
        counts.entry(arrival.topic).or_default().push(counted);
    }
    counts
}

/// Where a count is not one more than the one before of its topic: the versions there, and the two counts.
fn breaks(witness: &Witness) -> Vec<(String, String, u64, u64)> {
    let mut breaks = Vec::new();
    for counted in counts(witness).into_values() {
        assert_eq!(counted[0].1, 1, "the first is the first");
        let pairs = counted.windows(2).filter(|pair| pair[1].1 != pair[0].1 + 1);
        breaks.extend(pairs.map(|pair| (pair[0].0.clone(), pair[1].0.clone(), pair[0].1, pair[1].1)));
    }
    breaks
}

fn roll_back(tidegate: &Tidegate) {
    good(command_of(tidegate, "plugin", &["rollback", "remembers"]));
}

#[test]
fn what_it_remembers_goes_on_through_versions_and_back_where_they_can_read_it() {
    let house = House::new();
    let mut tidegate = gateway(&house, "first");
    let witness = house.witness("main");
    let publishers = [house.publish("here", RATE / 2), house.publish("there", RATE / 2)];
    decides(&tidegate, &witness, "first");
    save(&tidegate, &witness, "second");
    save(&tidegate, &witness, "third");
    save(&tidegate, &witness, "second");
    // The second reads what the third has left, so nothing is forgotten by going back either.
    save(&tidegate, &witness, "third");
    roll_back(&tidegate);
    decides(&tidegate, &witness, "second");
    assert_eq!(breaks(&witness), []);
    tidegate.kill();
    tidegate.restart();
    decides(&tidegate, &witness, "second");
    // What was rolled back from is not taken again; another component is.
    let another = rollback::marked(&plugin("remembers-third"), b'1');
    applied_after(&tidegate, || tidegate.replace_file(FILE, &another));
    decides(&tidegate, &witness, "third");
    tidegate.kill();
    tidegate.restart();
    decides(&tidegate, &witness, "third");
    let sent: usize = publishers.into_iter().map(|publisher| publisher.stop() as usize).sum();
    within(PATIENCE, || witness.count() >= sent);
    // At QoS 1 a kill may repeat what was sent, with the count that it had.
    for (topic, counted) in counts(&witness) {
        let mut known: Vec<u64> = counted.iter().map(|(_, count)| *count).collect();
        known.sort_unstable();
        known.dedup();
        assert!(known.iter().copied().eq(1..=known.len() as u64), "{topic}: {known:?}");
    }
    house.ledger.check_of("main", |_| true).assert_nothing_missing().assert_published(1_000);
    assert_balanced(&tidegate);
}

#[test]
fn a_version_that_cannot_read_it_is_refused_and_the_one_before_goes_on_with_all_of_it() {
    let (house, tidegate, witness, publisher) = under_way("first");
    for (mode, why) in [
        ("{ refuses = true }", "it refuses it: it does not read what `first` has left"),
        ("{ traps = true }", "as it was told to"),
    ] {
        applied_after(&tidegate, || tidegate.edit_config(&config(&house, mode, "")));
        let reason = refused_after(&tidegate, || tidegate.replace_file(FILE, &plugin("remembers-second")));
        assert!(reason.contains("plugin `remembers`: ") && reason.contains(why), "{reason}");
        decides(&tidegate, &witness, "first");
        tidegate.replace_file(FILE, &plugin("remembers-first"));
    }
    applied_after(&tidegate, || tidegate.edit_config(&config(&house, "{}", "")));
    save(&tidegate, &witness, "second");
    // One that says nothing of its state cannot know what this is.
    let reason = refused_after(&tidegate, || tidegate.replace_file(FILE, &plugin("remembers-first")));
    assert!(reason.contains("was left by a version that calls it `second`, and this one says none"), "{reason}");
    decides(&tidegate, &witness, "second");
    assert_eq!(breaks(&witness), []);
    house.assert_all_came("here", publisher, &witness, "main", 1_000);
}

#[test]
fn a_version_that_goes_back_and_cannot_read_it_finds_what_it_had_left() {
    let (house, tidegate, witness, publisher) = under_way("first");
    // By hand.
    save(&tidegate, &witness, "second");
    roll_back(&tidegate);
    tidegate.wait_for_log("its state is again as an earlier version has left it", PATIENCE);
    decides(&tidegate, &witness, "first");
    // By itself, for the next one fails on every message.
    applied_after(&tidegate, || {
        tidegate.edit_config(&config(&house, "{ fails = true }", ""));
    });
    eventually("the first is back", PATIENCE, || {
        tidegate.metrics().get("tidegate_plugin_rollbacks_total", &[("plugin", "remembers")]) == Some(1.0)
    });
    decides(&tidegate, &witness, "first");
    let sent = publisher.stop() as usize;
    eventually("nothing is put aside", PATIENCE, || tidegate.metrics().get("tidegate_parked", &[]) == Some(0.0));
    within(PATIENCE, || witness.count() >= sent);
    house.ledger.check_of("main", |_| true).assert_nothing_missing().assert_exactly_once();
    // What the second has counted is forgotten, once for each topic; whatever the first has counted is not.
    let breaks = breaks(&witness);
    assert!(!breaks.is_empty());
    let mut last_of_first: BTreeMap<String, u64> = BTreeMap::new();
    for (topic, counted) in counts(&witness) {
        for (version, count) in counted {
            if version == "first" {
                let last = last_of_first.entry(topic.clone()).or_default();
                assert_eq!(count, *last + 1, "{topic}");
                *last = count;
            }
        }
    }
}

#[test]
fn a_canary_of_the_same_version_of_the_state_shares_it() {
    let (house, tidegate, witness, publisher) = under_way("second");
    let candidate = |version: &str, rest: &str| {
        let path = format!("plugins/{version}.wasm");
        // The same component with another configuration is another rule.
        let rest =
            format!("[plugins.remembers.candidate]\npath = \"{path}\"\nmode = \"canary\"\nshare = \"50%\"\n{rest}");
        tidegate.replace_file(&path, &plugin(&format!("remembers-{version}")));
        applied_after(&tidegate, || tidegate.edit_config(&config(&house, "{}", &rest)));
    };
    candidate("second", "config = { traps = true }");
    let messages = || {
        let told = good(command_of(&tidegate, "plugin", &["diff", "remembers", "--json"]));
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        told["messages"].as_u64().unwrap_or_default()
    };
    eventually("the canary decides", PATIENCE, || messages() > 200);
    good(command_of(&tidegate, "plugin", &["abandon", "remembers"]));
    let before = witness.count();
    eventually("the other one goes on", PATIENCE, || witness.count() > before + 500);
    assert_eq!(breaks(&witness), [], "it counted on where the canary was");
    // One of another version begins with a copy of its own.
    candidate("third", "");
    eventually("the canary decides", PATIENCE, || witness.last_mark().starts_with(" third "));
    eventually("for some topics", PATIENCE, || messages() > 200);
    good(command_of(&tidegate, "plugin", &["abandon", "remembers"]));
    let before = witness.count();
    eventually("the other one goes on", PATIENCE, || witness.count() > before + 500);
    let breaks = breaks(&witness);
    // It began with a copy, as the state was while it was built.
    let is_change = |from: &str, to: &str| matches!((from, to), ("second", "third") | ("third", "second"));
    assert!(breaks.iter().all(|(from, to, ..)| is_change(from, to)), "{breaks:?}");
    assert!(!breaks.is_empty(), "what the canary counted ended with it");
    house.assert_all_came("here", publisher, &witness, "main", 1_000);
}
