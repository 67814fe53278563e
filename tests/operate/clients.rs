//! `tidegate clients`, and what is behind it.

use super::{CONTROL, House};
use crate::fixture::{PATIENCE, run};
use tidegate_testkit::{Client, ClientOptions, Version, eventually};

#[test]
fn clients_of_the_own_broker_are_listed_looked_at_and_sent_away() {
    let house = House::start(CONTROL);
    let mut device = house.device();
    device.subscribe(&[("cmd/device", 1)]).unwrap();
    for n in 0..3 {
        device.publish("dev/1/temp", format!("{{\"temp\":{n}}}").as_bytes(), 1, false).unwrap();
    }
    // As ugly as a client identifier may be in an address.
    let ugly = ClientOptions::new(Version::V311, "../a b?c=1&d/#%2f").clean(false);
    let mut other = Client::connect(house.home, &ugly).unwrap();
    other.subscribe(&[("cmd/#", 1)]).unwrap();
    other.disconnect().unwrap();
    device.publish("cmd/device", b"wait", 1, false).unwrap();
    eventually("it is away", PATIENCE, || house.get("brokers/home/clients?connected=true")["count"] == 1);
    let all = house.get("brokers/home/clients");
    assert_eq!((&all["count"], all["failed_logins"].as_array().map(Vec::len)), (&2.into(), Some(0)), "{all}");
    let found = &house.get("brokers/home/clients?match=dev")["clients"][0];
    assert_eq!((&found["client_id"], &found["received"]), (&"device".into(), &4.into()), "{found}");
    assert_eq!((&found["connection"]["version"], &found["connection"]["transport"]), (&"5".into(), &"mqtt".into()));

    let table = house.says(&["clients", "list", "--broker", "home", "--table"]);
    assert!(table.lines().any(|line| line.starts_with("device ") && line.contains("mqtt 5")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("../a b?c=1&d/#%2f ") && line.contains("away")), "{table}");
    let shown = house.says(&["clients", "show", "../a b?c=1&d/#%2f", "--broker", "home"]);
    assert!(shown.contains("cmd/# at QoS 1") && shown.contains("1 (") && shown.contains("away"), "{shown}");

    let said = house.says(&["clients", "disconnect", "device", "--broker", "home"]);
    assert!(said.contains("`device` is disconnected; it may come back"), "{said}");
    assert!(device.receive(PATIENCE).is_err() || device.receive(PATIENCE).is_err(), "it is sent away");
    let said = house.says(&["clients", "disconnect", "../a b?c=1&d/#%2f", "--forget", "--broker", "home"]);
    assert!(said.contains("nothing is kept for it"), "{said}");
    eventually("both are gone", PATIENCE, || house.get("brokers/home/clients")["count"] == 0);
    house.tidegate.wait_for_log("disconnected by an operator", PATIENCE);
}

#[test]
fn who_is_not_there_is_said_in_words() {
    let house = House::start("control = false\n");
    for (path, status, words) in [
        ("brokers/nowhere/clients", 404, "no such broker"),
        ("brokers/cloud1/clients", 409, "none of the box's own"),
        ("brokers/home/client?id=nobody", 404, "no client of this identifier"),
    ] {
        let (found, body) = house.ask("GET", &format!("/api/v1/{path}"), &[], "");
        assert!(found == status && body.contains(words), "{path}: {found} {body}");
    }
    // Who may only look sends nobody away.
    let device = house.device();
    let (status, _) = house.ask("POST", "/api/v1/brokers/home/client/disconnect?id=device", &[], "");
    assert!([401, 403].contains(&status), "{status}");
    assert_eq!(house.get("brokers/home/clients")["count"], 1);
    drop(device);
    let config = house.tidegate.dir().join("tidegate.toml").display().to_string();
    let output = run(&["clients", "list", "--config", &config]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(64) && said.contains("home, office"), "{said}");
}
