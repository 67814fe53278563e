//! Ten thousand routes: the gateway starts, and a change of one of them works, in the time of a few.
//!
//! No time is asserted. Where something compares each route with each other one again, this takes minutes, and the test
//! gives up. `scripts/soak routes` prints the figures.

use super::*;
use crate::fixture::broker;
use tidegate_testkit::{Client, free_port};

const ROUTES: usize = 10_000;

/// A route for each site, of which one goes elsewhere.
fn sites(moved: Option<usize>) -> String {
    let route = |site: usize| {
        let prefix = if moved == Some(site) { "moved/" } else { "main/" };
        format!(
            "[[routes]]\nname = \"site-{site}\"\nfrom = {{ broker = \"home\", topics = [\"site/{site}/+/temp\"] }}\n\
             to = [\"office\"]\nremap = {{ strip = \"site/\", prefix = \"{prefix}\" }}\n"
        )
    };
    (0..ROUTES).map(route).collect()
}

#[test]
fn one_of_ten_thousand_routes_is_changed_and_works() {
    let (office, port) = (Mosquitto::start(), free_port());
    let config = |moved: Option<usize>| {
        let home = format!("[brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\n");
        home + &broker("office", &office.url(), "") + &sites(moved)
    };
    let tidegate = Tidegate::start(&config(None));
    let witness = Witness::start(office.port(), "office", "#", &Ledger::new());
    let mut device = Client::connect(port, &ClientOptions::new(Version::V5, "device")).unwrap();
    let mut topics = |expected: &[&str]| {
        for site in ["0", "5000", "9999"] {
            device.publish(&format!("site/{site}/1/temp"), b"20", 1, false).unwrap();
        }
        eventually("they arrive", PATIENCE, || witness.count() >= expected.len());
        let mut topics: Vec<String> = witness.arrivals().into_iter().map(|arrival| arrival.topic).collect();
        topics.sort();
        assert_eq!(topics, expected);
    };
    topics(&["main/0/1/temp", "main/5000/1/temp", "main/9999/1/temp"]);
    applied_after(&tidegate, || tidegate.edit_config(&config(Some(5_000))));
    let changed = "routes.site-5000.remap.prefix changed";
    eventually("it is told", PATIENCE, || tidegate.log().contains(changed));
    let told: Vec<String> =
        tidegate.log().lines().filter(|line| line.contains("reloaded")).map(str::to_owned).collect();
    assert!(told.len() == 1 && told[0].contains(changed), "{told:?}");
    let both = ["main/0/1/temp", "main/0/1/temp", "main/5000/1/temp", "main/9999/1/temp", "main/9999/1/temp"];
    topics(&[&both[..], &["moved/5000/1/temp"]].concat());
    assert_undisturbed(&tidegate.metrics(), &["office"]);
}
