//! Plugins that are replaced while traffic flows.

use super::*;
use crate::fixture::{Arrival, memory_peak_bytes};
use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::Path;

const SWAPS: usize = 100;

/// How a new version gets to its place.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Written over the old one.
    InPlace,
    /// Written aside and renamed.
    Rename,
    /// A link to it takes the place.
    Link,
    /// One half, and the other once the first was refused.
    InHalves,
}

const WAYS: [Way; 4] = [Way::InPlace, Way::Rename, Way::Link, Way::InHalves];

fn save(tidegate: &Tidegate, way: Way, number: usize, bytes: &[u8]) {
    let path = tidegate.dir().join(PLUGIN);
    match way {
        Way::InPlace => std::fs::write(&path, bytes).unwrap(),
        Way::Rename => tidegate.replace_file(PLUGIN, bytes),
        Way::Link => {
            let version = format!("versions/{number}.wasm");
            tidegate.replace_file(&version, bytes);
            link(&Path::new("..").join(version), &path);
        }
        Way::InHalves => {
            let half = bytes.len() / 2;
            let reason = refused_after(tidegate, || std::fs::write(&path, &bytes[..half]).unwrap());
            assert!(reason.contains("plugin `marked`"), "{reason}");
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

/// Puts a link there in one step, whatever was there before.
fn link(to: &Path, place: &Path) {
    let aside = place.with_file_name("link.aside");
    symlink(to, &aside).unwrap();
    std::fs::rename(&aside, place).unwrap();
}

/// How often the mark changes from one message of a key to its next.
fn changes(arrivals: &[Arrival]) -> HashMap<&str, usize> {
    let mut last: HashMap<&str, &str> = HashMap::new();
    let mut changes: HashMap<&str, usize> = HashMap::new();
    for arrival in arrivals {
        let key = &*arrival.id.as_ref().unwrap().key;
        let before = last.insert(key, &arrival.mark);
        *changes.entry(key).or_default() += usize::from(before.is_some_and(|before| before != arrival.mark));
    }
    changes
}

#[test]
fn a_hundred_swaps_lose_repeat_and_reorder_nothing() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", RATE);
    let versions = [(" v1", plugin("versioned-v1")), (" v2", plugin("versioned-v2"))];
    eventually("the first version decides", PATIENCE, || witness.last_mark() == " v1");
    for number in 1..=SWAPS {
        let (mark, bytes) = &versions[number % 2];
        let way = WAYS[number % WAYS.len()];
        save(&tidegate, way, number, bytes);
        eventually(&format!("version {number} saved by {way:?} decides"), PATIENCE, || witness.last_mark() == *mark);
    }
    house.assert_all_came("dev", publisher, &witness, "main", 10_000);
    let arrivals = witness.arrivals();
    for arrival in &arrivals {
        assert!([" v1", " v2"].contains(&&*arrival.mark), "not by exactly one version: {arrival:?}");
        assert!(arrival.topic.starts_with("main/dev"), "{arrival:?}");
    }
    for (key, changes) in changes(&arrivals) {
        assert!(changes <= SWAPS, "{key} changed its version {changes} times: an old one came back");
    }
    let metrics = assert_balanced(&tidegate);
    assert_undisturbed(&metrics, &["home", "office"]);
    assert_eq!(value(&metrics, "tidegate_plugin_faults_total"), 0);
    assert!(value(&metrics, "tidegate_reloads_total") >= SWAPS as u64);
    tidegate.wait_for_log("route `main` runs marked@", PATIENCE);
}

#[test]
fn a_swap_keeps_the_memory_of_the_process_bounded() {
    /// Fifty instances of 16 MiB and as much again for code would be far beyond.
    const GROWTH_MAX_BYTES: u64 = 64 << 20;
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 200);
    let versions = [(" v1", plugin("versioned-v1")), (" v2", plugin("versioned-v2"))];
    let mut before = 0;
    for number in 1..=50 {
        let (mark, bytes) = &versions[number % 2];
        tidegate.replace_file(PLUGIN, bytes);
        eventually("the version decides", PATIENCE, || witness.last_mark() == *mark);
        if number == 10 {
            before = memory_peak_bytes(tidegate.pid());
        }
    }
    let after = memory_peak_bytes(tidegate.pid());
    assert!(after - before <= GROWTH_MAX_BYTES, "grown from {before} to {after}");
    house.assert_all_came("dev", publisher, &witness, "main", 100);
    assert_balanced(&tidegate);
}

/// As Kubernetes mounts it: the file is a link through a link to a directory, and that one is exchanged.
#[test]
fn a_plugin_in_a_mounted_directory_is_followed() {
    let house = House::new();
    let rest = MAIN.replace(PLUGIN, "mount/marked.wasm");
    let mounted = tempfile::tempdir().unwrap();
    let mount = mounted.path().join("mount");
    let version = |name: &str, component: &str| {
        std::fs::create_dir_all(mount.join(name)).unwrap();
        std::fs::write(mount.join(name).join("marked.wasm"), plugin(component)).unwrap();
        link(Path::new(name), &mount.join("..data"));
    };
    version("..first", "versioned-v1");
    symlink("..data/marked.wasm", mount.join("marked.wasm")).unwrap();
    let rest = rest.replace("mount/marked.wasm", &mount.join("marked.wasm").display().to_string());
    let tidegate = house.gateway(&rest).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 200);
    eventually("the first version decides", PATIENCE, || witness.last_mark() == " v1");
    version("..second", "versioned-v2");
    eventually("the second version decides", PATIENCE, || witness.last_mark() == " v2");
    version("..third", "versioned-v1");
    eventually("the third version decides", PATIENCE, || witness.last_mark() == " v1");
    house.assert_all_came("dev", publisher, &witness, "main", 10);
    assert_balanced(&tidegate);
}

#[test]
fn a_route_without_plugins_and_back_keeps_the_order() {
    const TURNS: usize = 20;
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let without = house.config(&MAIN.replace("plugins = [\"marked\"]", "plugins = []"));
    let witness = house.witness("main");
    let publisher = house.publish("dev", RATE);
    eventually("the plugin decides", PATIENCE, || witness.last_mark() == " v1");
    for _ in 0..TURNS {
        tidegate.edit_config(&without);
        eventually("no plugin decides", PATIENCE, || witness.last_mark().is_empty());
        tidegate.edit_config(&house.config(MAIN));
        eventually("the plugin decides again", PATIENCE, || witness.last_mark() == " v1");
    }
    house.assert_all_came("dev", publisher, &witness, "main", 2_000);
    assert_undisturbed(&assert_balanced(&tidegate), &["home", "office"]);
}

#[test]
fn a_second_plugin_comes_and_goes_and_no_message_sees_half_a_pipeline() {
    const TURNS: usize = 10;
    let house = House::new();
    let both = MAIN.replace("[[routes]]", "[plugins.second]\npath = \"plugins/second.wasm\"\n[[routes]]");
    let two = both.replace("[\"marked\"]", "[\"marked\", \"second\"]");
    let tidegate = house.gateway(&two).file("plugins/second.wasm", plugin("versioned-v2")).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", RATE);
    for _ in 0..TURNS {
        tidegate.edit_config(&house.config(&both.replace("[\"marked\"]", "[\"second\"]")));
        eventually("one decides", PATIENCE, || witness.last_mark() == " v2");
        tidegate.edit_config(&house.config(&two));
        eventually("both decide", PATIENCE, || witness.last_mark() == " v1 v2");
    }
    house.assert_all_came("dev", publisher, &witness, "main", 1_000);
    assert!(witness.arrivals().iter().all(|arrival| [" v2", " v1 v2"].contains(&&*arrival.mark)));
    assert_undisturbed(&assert_balanced(&tidegate), &["home", "office"]);
}

#[test]
fn state_goes_from_one_version_to_the_next() {
    let house = House::new();
    let config = |grown: &str| {
        let plugin = format!("[plugins.marked]\nconfig = {{ {grown} }}\ngrants = {{ state = true }}");
        house.config(&MAIN.replace("[plugins.marked]", &plugin))
    };
    let tidegate = Tidegate::builder(&config("")).file(PLUGIN, plugin("imports-state")).start();
    let seen = Ledger::new();
    let witness = Witness::start(house.office.port(), "main", "main/#", &seen);
    let mut client =
        tidegate_testkit::Client::connect(house.home.port(), &ClientOptions::new(Version::V311, "publisher")).unwrap();
    let mut expected = 0;
    for version in 0..4 {
        applied_after(&tidegate, || tidegate.edit_config(&config(&format!("version = \"{version}\""))));
        for _ in 0..3 {
            client.publish("dev/1/temp", b"x", 1, false).unwrap();
            expected += 1;
            eventually("it has counted", PATIENCE, || witness.count() == expected);
        }
    }
    let counts: Vec<String> = witness.arrivals().into_iter().map(|arrival| arrival.mark).collect();
    assert_eq!(counts, (1..=expected).map(|count| count.to_string()).collect::<Vec<_>>());
    assert_balanced(&tidegate);
}
