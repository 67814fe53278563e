//! An earlier version of a plugin runs again, until another one is saved.

use super::*;
use serde_json::Value;
use std::process::Output;

fn command(tidegate: &Tidegate, words: &[&str]) -> Output {
    command_of(tidegate, "plugin", words)
}

#[track_caller]
fn said(tidegate: &Tidegate, words: &[&str]) -> String {
    good(command(tidegate, words))
}

fn versions(tidegate: &Tidegate) -> Vec<Value> {
    let told = said(tidegate, &["versions", "marked", "--json"]);
    told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text<'a>(version: &'a Value, key: &str) -> &'a str {
    version[key].as_str().unwrap_or_default()
}

/// The same component under another digest: with a section that nobody reads (Component Model, Binary.md, `custom`).
pub(super) fn marked(component: &[u8], with: u8) -> Vec<u8> {
    [component, &[0, 3, 1, b'x', with]].concat()
}

#[test]
fn an_earlier_version_runs_again_until_another_one_is_saved() {
    let house = House::new();
    let mut tidegate = house.gateway(MAIN).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", RATE);
    let decides = |mark: &str| eventually(&format!("{mark} decides"), PATIENCE, || witness.last_mark() == mark);
    decides(" v1");
    let (alone, words) = (command(&tidegate, &["rollback", "marked"]), "`marked` has run in no other version");
    assert!(String::from_utf8_lossy(&alone.stderr).contains(words), "{alone:?}");
    let second = plugin("versioned-v2");
    applied_after(&tidegate, || tidegate.replace_file(PLUGIN, &second));
    decides(" v2");

    // Back, under traffic, and it stays so when the file is saved as it was, and when the gateway is killed.
    let told = said(&tidegate, &["rollback", "marked"]);
    assert!(told.starts_with("plugin `marked` runs version ") && told.ends_with(" again\n"), "{told}");
    decides(" v1");
    let all = versions(&tidegate);
    assert_eq!(all.iter().map(|one| text(one, "came")).collect::<Vec<_>>(), ["start", "saved", "rollback"]);
    assert_eq!((&all[0]["digest"], all[2].get("until_ms")), (&all[2]["digest"], None));
    assert!(all[..2].iter().all(|one| one["messages"].as_u64() > Some(0) && one["failures"] == 0), "{all:?}");
    assert!(tidegate.dir().join(format!("data/versions/{}.wasm", text(&all[1], "digest"))).exists());
    applied_after(&tidegate, || {
        tidegate.replace_file(PLUGIN, &second);
        tidegate.edit_config(&house.config(&MAIN.replace("deadline = \"5s\"", "deadline = \"6s\"")));
    });
    assert_eq!(witness.last_mark(), " v1");
    tidegate.kill();
    tidegate.restart();
    let before = witness.count();
    eventually("it carries again", PATIENCE, || witness.count() > before + 1_000);
    assert_eq!(witness.last_mark(), " v1", "what ran before the kill runs after it");
    let told = said(&tidegate, &["versions", "marked"]);
    assert!(told.contains("rolled back: the configuration says otherwise"), "{told}");

    // By its digest the other way, and to what the file says: that is no rollback any more.
    said(&tidegate, &["rollback", "marked", &text(&all[1], "digest")[..10]]);
    decides(" v2");
    assert!(!said(&tidegate, &["versions", "marked"]).contains("rolled back"));
    said(&tidegate, &["rollback", "marked", &text(&all[0], "digest")[..10]]);
    decides(" v1");
    said(&tidegate, &["rollback", "marked", "--number", "2"]);
    decides(" v2");
    said(&tidegate, &["rollback", "marked", "--number", "1"]);
    decides(" v1");
    let unknown = command(&tidegate, &["rollback", "marked", "--number", "99"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("has the number 99"), "{unknown:?}");
    let (unknown, words) = (command(&tidegate, &["rollback", "marked", "zz"]), "has a digest that begins with `zz`");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains(words), "{unknown:?}");
    let unknown = command(&tidegate, &["rollback", "marks"]);
    assert!(unknown.status.code() == Some(64), "{unknown:?}");

    // Another component is what the operator wants now.
    applied_after(&tidegate, || tidegate.replace_file(PLUGIN, &marked(&second, b'a')));
    decides(" v2");
    tidegate.wait_for_log("what the configuration says of this plugin runs again", PATIENCE);
    // After a kill a message or two may come once more at QoS 1.
    let sent = publisher.stop() as usize;
    within(PATIENCE, || witness.count() >= sent);
    let check = || house.ledger.check_of("main", |id| id.key.starts_with("dev"));
    within(PATIENCE, || check().missing.is_empty());
    check().assert_at_least_once().assert_nothing_missing().assert_published(3_000);
}

#[test]
fn so_many_versions_are_kept_and_a_rollback_that_cannot_run_changes_nothing() {
    let house = House::new();
    let rest = format!("[gateway]\nname = \"test\"\ndata_dir = \"{{dir}}/data\"\nkeep_versions = 2\n{MAIN}");
    let tidegate = house.gateway(&rest).start();
    let first = plugin("versioned-v1");
    for with in *b"abcd" {
        applied_after(&tidegate, || tidegate.replace_file(PLUGIN, &marked(&first, with)));
    }
    let kept = || {
        let files = std::fs::read_dir(tidegate.dir().join("data/versions")).unwrap().flatten();
        files.filter(|file| file.path().extension().is_some_and(|is| is == "wasm")).map(|file| file.path()).collect()
    };
    let files = || -> Vec<std::path::PathBuf> { kept() };
    eventually("what nobody may ask for has gone", PATIENCE, || files().len() == 2);
    assert_eq!((files().len(), versions(&tidegate).len()), (2, 2), "{:?}", files());
    // Of another configuration, which the file has no more.
    let all = versions(&tidegate);
    let before = tidegate.dir().join(format!("data/versions/{}.wasm", text(&all[0], "digest")));
    std::fs::write(&before, "no component").unwrap();
    let refused = command(&tidegate, &["rollback", "marked"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it cannot run: "), "{refused:?}");
    assert_eq!(
        versions(&tidegate).last().map(|one| text(one, "digest").to_owned()),
        Some(text(&all[1], "digest").to_owned())
    );
    assert!(!said(&tidegate, &["versions", "marked"]).contains("rolled back"));
}
