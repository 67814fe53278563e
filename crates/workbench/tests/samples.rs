//! The samples of the shipped plugins hold, and what does not hold is told line by line.

#![allow(clippy::unwrap_used)] // a test may

use std::path::{Path, PathBuf};
use tidegate_plugin::{Component, Host, HostConfig};
use tidegate_workbench::{Report, inspect, try_file};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn host() -> Host {
    Host::new(&HostConfig::default()).unwrap()
}

fn shipped(host: &Host, name: &str) -> Component {
    host.compile(&std::fs::read(root().join(format!("plugins/dist/{name}.wasm"))).unwrap()).unwrap()
}

fn tried(plugin: &str, samples: &str) -> Result<Report, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    std::fs::write(&path, samples).unwrap();
    let host = host();
    try_file(&host, &shipped(&host, plugin), &path)
}

#[test]
fn the_samples_of_the_shipped_plugins_hold() {
    let host = host();
    let mut files = 0;
    for plugin in std::fs::read_dir(root().join("plugins")).unwrap() {
        let folder = plugin.unwrap().path();
        let Ok(samples) = std::fs::read_dir(folder.join("samples")) else { continue };
        if folder.join("plugin.toml").exists() {
            continue; // built where its compiler is: tests/languages.rs of the end-to-end tests
        }
        let component = shipped(&host, folder.file_name().unwrap().to_str().unwrap());
        for sample in samples {
            let path = sample.unwrap().path();
            let report = try_file(&host, &component, &path).unwrap();
            assert!(report.bad.is_empty(), "{}", report.bad.join("\n"));
            assert!(report.good > 0, "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 30, "only {files}");
}

const RETOPIC: &str = "config = { prefix = \"site/\" }\ngrants = { topics = [\"site/#\"] }\n";

#[test]
fn a_difference_is_shown_line_by_line() {
    let step = "[[step]]\nname = 'n'\ntopic = 'a'\npayload = 'x'\nforward = [{ topic = 'site/b', retain = true }]\n";
    let report = tried("retopic", &format!("{RETOPIC}{step}")).unwrap();
    assert_eq!((report.good, report.coverage["forward"]), (0, 1));
    let words = &report.bad[0];
    let shown = "x.toml: step 1 (n): not as expected\n    to onward\n  -   topic     site/b\n  +   topic     site/a\n    \
                 \u{20} payload   x\n  -   qos       1, retained\n  +   qos       1";
    assert!(words.contains(shown), "{words}");
}

#[test]
fn every_part_of_an_output_is_held_against_what_came() {
    let good = |output: &str| {
        let came = "topic = 'a'\npayload = 'x'\nqos = 2\nretain = true\nproperties = { content_type = 'c', user = [['k', 'v']] }\n";
        let report =
            tried("retopic", &format!("{RETOPIC}[[step]]\n{came}forward = [{{ topic = 'site/a'{output} }}]\n"))
                .unwrap();
        report.bad.is_empty()
    };
    assert!(good(""));
    assert!(good(", qos = 2, retain = true, payload = 'x', payload_base64 = 'eA=='"));
    for wrong in [
        ", qos = 1",
        ", retain = false",
        ", payload = 'y'",
        ", to = 'far'",
        ", properties = {}",
        ", user = [['k', 'v']]",
        ", key = 'k'",
        ", properties = { content_type = 'c', user = [['k', 'w']] }",
        " }, { topic = 'site/a'",
    ] {
        assert!(!good(wrong), "{wrong}");
    }
}

#[test]
fn bytes_that_are_no_text_are_held_to_the_last() {
    let good = |last: &str| {
        // 99 bytes of 0xff, and one that is 0xfe.
        let coded = |last: &str| format!("{}{last}", "/".repeat(132));
        let (came, must) = (coded("/g=="), coded(last));
        let step = format!(
            "[[step]]\ntopic = 'a'\npayload_base64 = '{came}'\nforward = [{{ topic = 'site/a', payload_base64 = '{must}' }}]\n"
        );
        tried("retopic", &format!("{RETOPIC}{step}")).unwrap().bad.is_empty()
    };
    assert!(good("/g==") && !good("/Q=="));
}

#[test]
fn what_a_plugin_remembers_is_given_and_looked_at() {
    // It imports no state, so it has none.
    let samples = "grants = { state = true }\nstate = { a = '1' }\nstate_after = { a = '1' }\nconfig = { prefix = 'x' }\n\
                   [[step]]\ntopic = 'a'\nfails = 'not granted'\n";
    let report = tried("retopic", samples).unwrap();
    assert_eq!((report.good, report.bad.len()), (1, 1), "{:?}", report.bad);
    assert!(report.bad[0].contains("+ fails, \"") && report.bad[0].contains("- fails, \"...not granted...\""));
    let report = tried("retopic", &samples.replace("state_after = { a = '1' }", "state_after = { b = '2' }")).unwrap();
    assert!(report.bad.iter().any(|words| words.contains("- b = 2\n  + a = 1")), "{:?}", report.bad);
}

#[test]
fn files_that_are_wrong_are_told_with_their_place() {
    let told =
        |samples: &str| tried("retopic", samples).map(|report| report.bad.join("\n")).unwrap_or_else(|words| words);
    for (samples, words) in [
        ("[[step]]\ntopci = 'a'", "unknown field `topci`"),
        ("[[step]]\ntopic = 'a'", "step 1: says nothing of what must become of it"),
        ("[[step]]\ntopic = 'a'\npass = true\ndrop = 'x'", "step 1: says more than one thing"),
        ("[[step]]\npass = true", "has neither `topic` nor `tick`"),
        ("[[step]]\ntick = 1\ntopic = 'a'\npass = true", "it is one or the other"),
        ("[[step]]\ntick = 1\npass = true", "a tick wants"),
        ("[[step]]\ntopic = 'a'\nqos = 3\npass = true", "`qos` is 0, 1 or 2"),
        ("[[step]]\ntopic = 'a'\npayload = ''\njson = 1\npass = true", "more than one of"),
        ("config = { prefix = 'x' }\n[[step]]\ntopic = 'a/#'\npass = true", "wildcards belong in filters"),
        ("config = { prefix = 'x' }\nlimits = { memory = 'much' }\n[[step]]\ntopic = 'a'\npass = true", "memory"),
        ("config = { prefix = 'x' }\ngrants = { topics = ['a/#/b'] }\n[[step]]\ntopic = 'a'\npass = true", "a/#/b"),
        ("config = { perfix = 'x' }\n[[step]]\ntopic = 'a'\npass = true", "unknown field `perfix`"),
        ("config = { prefix = 'x' }", "nothing would be tried"),
        ("config = { prefix = 'x' }\nrefused = ['never']", "is taken, and should be refused"),
        ("config = { perfix = 'x' }\nrefused = ['never']", "refused, but without `never`"),
    ] {
        let said = told(samples);
        assert!(said.contains(words), "{samples}\n{said}");
        assert!(said.contains("x.toml"), "{said}");
    }
}

#[test]
fn a_component_is_looked_into() {
    let told = inspect(&host(), &root().join("plugins/dist/throttle.wasm")).unwrap();
    for line in ["contract   1.0.0", "timer      yes", "packed     yes", "imports    tidegate:gateway/log@1.0.0"] {
        assert!(told.contains(line), "{told}");
    }
    let words = inspect(&host(), &root().join("README.md")).unwrap_err();
    assert!(words.contains("README.md") && words.contains("does not begin with"), "{words}");
}
