//! `tidegate test`.

use crate::command::{FOUND_PROBLEMS, RULES, USAGE, assert_contains, stderr, stdout, with_config, written};
use crate::fixture::plugin;
use std::path::Path;

const GOOD: &str = r#"
[[step]]
name = "an alarm goes to both"
from = "home"
topic = "dev/7/temp"
json = { kind = "alarm", temp = 212 }
expect = [
    { to = "alarms", topic = "dev/7/temp", json = { kind = "alarm", temp = 212 } },
    { to = "upstream", route = "telemetry", topic = "site/cottage/7/temp", json = { kind = "alarm", temp = 100 }, qos = 1 },
]

[[step]]
from = "home"
topic = "dev/7/temp"
payload = '{"kind":"debug"}'
drop = "routed to drop"

[[step]]
from = "home"
topic = "elsewhere"
unrouted = true

[[step]]
from = "office"
topic = "dev/7/temp"
unrouted = true
"#;

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(dir.join("tests")).unwrap();
    std::fs::write(dir.join("tests").join(name), text).unwrap();
}

#[test]
fn tests_beside_the_configuration_are_tried_and_every_difference_is_told() {
    let (dir, path) = written(RULES);
    let none = with_config("test", &path, &[]);
    assert_eq!(none.status.code(), Some(USAGE), "{none:?}");
    assert_contains(&stderr(&none), &["there is no folder ", "put tests into it"]);
    write(dir.path(), "a.toml", GOOD);
    let good = with_config("test", &path, &[]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert_contains(&stdout(&good), &["gw.toml: 4 good, 0 not, of 1 file"]);
    assert!(!dir.path().join("data").exists(), "nothing is written where a gateway would");

    write(
        dir.path(),
        "b.toml",
        &GOOD.replace("temp = 100 }", "temp = 101 }").replace("unrouted = true", "expect = []"),
    );
    let bad = with_config("test", &path, &[]);
    assert_eq!(bad.status.code(), Some(FOUND_PROBLEMS), "{bad:?}");
    let said = stdout(&bad);
    assert_contains(
        &said,
        &[
            "b.toml: step 1 (an alarm goes to both): not as expected",
            "  -   json      {\"kind\":\"alarm\",\"temp\":101}",
            "  +   json      {\"kind\":\"alarm\",\"temp\":100}",
            "gw.toml: 7 good, 1 not, of 2 files",
        ],
    );
    let one = with_config("test", &path, &[&dir.path().join("tests/a.toml").display().to_string()]);
    assert_eq!(one.status.code(), Some(0), "a file alone: {one:?}");
}

/// A plugin that remembers and has a timer, as it would be called.
#[test]
fn a_sequence_is_decided_as_it_comes_and_time_passes_between() {
    let rules = RULES
        .replace("plugins = [\"by-kind\", \"celsius\"]", "plugins = [\"calm\"]\ntick = \"1s\"")
        .replace("[plugins.by-kind]", "[plugins.calm]\npath = \"throttle.wasm\"\nconfig = { every = \"10s\" }\ngrants = { topics = [\"dev/#\"] }\n[plugins.by-kind]");
    let (dir, path) = written(&rules);
    std::fs::write(dir.path().join("throttle.wasm"), plugin("throttle")).unwrap();
    let message = |payload: &str, rest: &str| {
        format!("[[step]]\nfrom = \"home\"\ntopic = \"dev/7/temp\"\npayload = '{payload}'\n{rest}\n")
    };
    let first = "expect = [{ to = \"upstream\", payload = '1' }]";
    let steps = [
        message("1", first),
        message("2", "drop = \"thrott\""),
        message("3", "expect = []"),
        "[[step]]\nwait = \"5s\"\nexpect = []\n".to_owned(),
        "[[step]]\nwait = \"6s\"\nexpect = [{ to = \"upstream\", topic = \"site/cottage/7/temp\", payload = '3' }]\n"
            .to_owned(),
        "[[step]]\nwait = \"1m\"\nexpect = []\n".to_owned(),
        message("4", "expect = [{ to = \"upstream\", payload = '4' }]"),
    ];
    write(dir.path(), "a.toml", &steps.concat());
    let good = with_config("test", &path, &[]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    // Each file begins with plugins that remember nothing.
    write(dir.path(), "b.toml", &message("1", first));
    let good = with_config("test", &path, &[]);
    assert_contains(&stdout(&good), &["8 good, 0 not, of 2 files"]);
}

#[test]
fn a_test_that_is_none_is_told_with_its_place() {
    let (dir, path) = written(RULES);
    let wrong = [
        (
            "[[step]]\nfrom = \"hme\"\ntopic = \"a\"\nexpect = []\n",
            "step 1: no broker `hme` in the configuration; there are alarms",
        ),
        ("[[step]]\nfrom = \"home\"\ntopic = \"a\"\n", "step 1: says nothing of what must become of it"),
        ("[[step]]\nfrom = \"home\"\ntopics = \"a\"\n", ":3:1: unknown field `topics`"),
        ("", "it has no `[[step]]`"),
    ];
    for (text, words) in wrong {
        write(dir.path(), "a.toml", text);
        let output = with_config("test", &path, &[]);
        assert_eq!(output.status.code(), Some(FOUND_PROBLEMS), "{output:?}");
        assert_contains(&stdout(&output), &["a.toml:", words]);
    }
    let output = crate::fixture::run(&["test", "--config"]);
    assert_eq!(output.status.code(), Some(USAGE));
}
