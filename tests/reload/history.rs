//! The configurations that have run, how they differ, and back to one of them.

use super::*;
use serde_json::Value;
use std::process::Output;

fn command(tidegate: &Tidegate, words: &[&str]) -> Output {
    command_of(tidegate, "config", words)
}

#[track_caller]
fn said(tidegate: &Tidegate, words: &[&str]) -> String {
    good(command(tidegate, words))
}

#[test]
fn each_that_ran_is_kept_and_one_is_in_force_again() {
    let house = House::new();
    let mut tidegate = house.gateway(MAIN).start();
    let first = std::fs::read_to_string(tidegate.dir().join("tidegate.toml")).unwrap();
    let (edited, wrong) =
        (first.replace("prefix = \"main/\"", "prefix = \"other/\""), first.replace("to = ", "too = "));
    let save = |text: &str| tidegate.replace_file("tidegate.toml", text.as_bytes());
    applied_after(&tidegate, || save(&edited));
    refused_after(&tidegate, || save(&wrong));
    applied_after(&tidegate, || save(&format!("{edited}\n# Words alone.\n")));
    applied_after(&tidegate, || save(&edited.replace("dev/+/temp", "dev/#")));
    // It is in force before it is on disk.
    eventually("the last one is kept", PATIENCE, || said(&tidegate, &["history", "--json"]).lines().count() >= 4);
    let told = said(&tidegate, &["history", "--json"]);
    let all: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.iter().map(|one| one["number"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((&all[0]["changes"], &all[0]["files"][0]["text"]), (&serde_json::json!([]), &first.clone().into()));
    let changes = all[1]["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change.as_str().unwrap().contains("routes.main.remap.prefix")), "{changes:?}");
    let table = said(&tidegate, &["history"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].trim_start().starts_with("4 ") && lines[4].contains("a start"), "{table}");
    assert_eq!(said(&tidegate, &["show", "1"]), first);
    let differs = said(&tidegate, &["diff", "1"]);
    assert!(differs.contains("routes.main.remap.prefix") && differs.contains("routes.main.from.topics"), "{differs}");

    // Back to the first, live; the one before that is the last again.
    let told = said(&tidegate, &["rollback", "1"]);
    assert!(told.contains("changes: ") && told.ends_with("it runs\n"), "{told}");
    assert_eq!(std::fs::read_to_string(tidegate.dir().join("tidegate.toml")).unwrap(), first);
    let witness = house.witness("main");
    let publisher = house.publish("dev", RATE);
    eventually("it carries as it did", PATIENCE, || witness.count() > 1_000);
    house.assert_all_came("dev", publisher, &witness, "main", 1_000);
    assert_eq!(said(&tidegate, &["diff", "1"]), "nothing would change\n");
    said(&tidegate, &["rollback"]);
    assert!(said(&tidegate, &["history"]).lines().nth(1).unwrap().trim_start().starts_with("6 "));
    assert_eq!(said(&tidegate, &["show", "6"]), said(&tidegate, &["show", "4"]));
    let none = command(&tidegate, &["rollback", "99"]);
    assert!(none.status.code() == Some(64) && String::from_utf8_lossy(&none.stderr).contains("none with number 99"));

    // A restart is no new one; without a gateway it is for the next start.
    tidegate.restart();
    assert_eq!(said(&tidegate, &["history"]).lines().count(), 7);
    tidegate.terminate(PATIENCE);
    let told = said(&tidegate, &["rollback", "1"]);
    assert!(told.ends_with("no gateway answers: it will run with this when it starts\n"), "{told}");
}

#[test]
fn files_that_are_included_go_back_with_it() {
    let house = House::new();
    let rest = "include = [\"routes.d/*.toml\"]\n";
    let (brokers, route) = (house.config(""), MAIN);
    let tidegate = Tidegate::builder(&format!("{rest}{brokers}"))
        .file(PLUGIN, plugin("versioned-v1"))
        .file("routes.d/main.toml", route.replace("plugins/marked.wasm", "../plugins/marked.wasm"))
        .start();
    let included = tidegate.dir().join("routes.d/main.toml");
    let before = std::fs::read_to_string(&included).unwrap();
    applied_after(&tidegate, || tidegate.replace_file("routes.d/main.toml", before.replace("main/", "x/").as_bytes()));
    applied_after(&tidegate, || tidegate.replace_file("routes.d/more.toml", b"# nothing yet\n"));
    let more = command(&tidegate, &["rollback", "1"]);
    let words = String::from_utf8_lossy(&more.stderr).into_owned();
    assert!(!more.status.success() && words.contains("more.toml is included now, and was not then"), "{words}");
    applied_after(&tidegate, || std::fs::remove_file(tidegate.dir().join("routes.d/more.toml")).unwrap());
    let told = said(&tidegate, &["rollback", "1"]);
    assert!(told.contains("routes.d/main.toml\n") && told.ends_with("it runs\n"), "{told}");
    assert_eq!(std::fs::read_to_string(&included).unwrap(), before);
}
