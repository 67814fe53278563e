//! A configuration of several files is followed as one.

use super::*;
use std::time::Duration;
use tidegate_testkit::Client;

/// Before the gateway looks by itself.
const SOON: Duration = Duration::from_secs(15);

fn route(name: &str, prefix: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nfrom = {{ broker = \"home\", topics = [\"{name}/#\"] }}\nto = [\"office\"]\n\
         remap = {{ prefix = \"{prefix}\" }}\n"
    )
}

#[track_caller]
fn applied_soon(tidegate: &Tidegate, change: impl FnOnce()) {
    let before = reloads(tidegate);
    change();
    eventually("the change is applied", SOON, || reloads(tidegate) > before);
}

#[test]
fn files_that_come_change_and_go_are_applied_and_one_that_is_wrong_is_told() {
    let house = House::new();
    let text = format!("include = [\"routes.d/*.toml\"]\n{}", house.config(MAIN));
    let builder = Tidegate::builder(&text).file(PLUGIN, plugin("versioned-v1"));
    let mut tidegate = builder.env("TIDEGATE_TEST_PREFIX", "from/env/").start();
    let metrics = tidegate.metrics();
    let folder = tidegate.dir().join("routes.d");
    let routes = |tidegate: &Tidegate| {
        let metrics = tidegate.metrics();
        let samples = metrics.samples("tidegate_route_received_total");
        let mut names: Vec<_> = samples.iter().filter_map(|(labels, _)| labels.get("route").cloned()).collect();
        names.sort();
        names
    };
    assert_eq!(routes(&tidegate), ["main"]);
    // The folder comes with a file in it; neither was there.
    applied_soon(&tidegate, || {
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a.toml"), route("a", "${TIDEGATE_TEST_PREFIX}")).unwrap();
    });
    assert_eq!(routes(&tidegate), ["a", "main"]);
    let connect =
        |port: u16, id: &str| Client::connect(port, &ClientOptions::new(Version::V5, id).clean(true)).unwrap();
    let (mut device, mut office) = (connect(house.home.port(), "device"), connect(house.office.port(), "office"));
    office.subscribe(&[("#", 1)]).unwrap();
    device.publish("a/1", b"x", 1, false).unwrap();
    let came = office.receive(PATIENCE).unwrap().expect("it comes by the route of the other file");
    assert_eq!(came.topic, "from/env/a/1");
    applied_soon(&tidegate, || std::fs::write(folder.join("b.toml"), route("b", "b/")).unwrap());
    assert_eq!(routes(&tidegate), ["a", "b", "main"]);
    // One that is wrong refuses all, with its place.
    std::fs::write(folder.join("b.toml"), format!("{}too = [\"x\"]\n", route("b", "b/"))).unwrap();
    let refused = "routes.d/b.toml:6:1: unknown key `too` in [[routes]]; did you mean `to`?";
    eventually("it is refused", SOON, || tidegate.log().contains(refused));
    assert_eq!(routes(&tidegate), ["a", "b", "main"]);
    applied_soon(&tidegate, || std::fs::remove_file(folder.join("b.toml")).unwrap());
    assert_eq!(routes(&tidegate), ["a", "main"]);
    assert_undisturbed(&metrics, &["home", "office"]);
    // The next start finds the same.
    tidegate.terminate(PATIENCE);
    tidegate.restart();
    assert_eq!(routes(&tidegate), ["a", "main"]);
    assert!(!tidegate.log().contains("from/env"), "what a variable holds is not told");
}
