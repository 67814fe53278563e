//! Folders that `plugin new` makes are built and tried, in each language, as their README says.

use crate::fixture::run;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;
use tidegate_testkit::Tidegate;

/// Compiling a Python component takes half a minute on a busy machine, twice.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs the binary with the compilers that the test command has installed in its path.
#[track_caller]
fn with_compilers(dir: &Path, args: &[&str]) -> Output {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("{name}: run scripts/test"));
    let python = Path::new(&variable("TIDEGATE_TEST_PYTHON")).parent().expect("a folder").to_owned();
    let node = Path::new(&variable("TIDEGATE_TEST_NODE_MODULES")).join(".bin");
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([python, node].into_iter().chain(std::env::split_paths(&own))).expect("a path");
    let mut command = Command::new("timeout");
    command.args(["-k", "1", &PATIENCE.as_secs().to_string()]).arg(Tidegate::binary()).args(args);
    command.current_dir(dir).env("PATH", path).env_remove("RUST_LOG").output().expect("timeout runs")
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn a_folder_is_built_and_tried(language: &str, source: &str, wrong: (&str, &str), told: &str) {
    let dir = TempDir::new().expect("a folder");
    let good = |args: &[&str]| {
        let output = with_compilers(dir.path(), args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        text(&output)
    };
    assert!(good(&["plugin", "new", "celsius", "--lang", language]).contains("begin with celsius/README.md"));
    for (way, arguments) in [("with WASI", &[][..]), ("without", &["--release"])] {
        let built = good(&[&["plugin", "build", "celsius"], arguments].concat());
        assert!(built.contains("contract   1.0.0") && built.contains("made celsius/celsius.wasm"), "{way}: {built}");
        assert_eq!(built.contains("WASI"), arguments.is_empty(), "{way}: {built}");
        let tried = good(&["plugin", "test", "celsius"]);
        assert!(tried.contains("5 good, 0 not, of 2 files; decisions: drop 2, forward 2, refused 1"), "{way}: {tried}");
    }
    assert!(!dir.path().join("celsius/__pycache__").exists(), "nothing is left behind");

    // A mistake of the rule has words, and costs its message alone.
    let path = dir.path().join("celsius").join(source);
    let rule = std::fs::read_to_string(&path).expect("the rule");
    assert!(rule.contains(wrong.0), "{rule}");
    std::fs::write(&path, rule.replace(wrong.0, wrong.1)).expect("written");
    good(&["plugin", "build", "celsius"]);
    let tried = with_compilers(dir.path(), &["plugin", "test", "celsius"]);
    assert_eq!(tried.status.code(), Some(1), "{}", text(&tried));
    let tried = text(&tried);
    assert!(tried.contains(told) && tried.contains(source), "its words and its place: {tried}");
    assert!(tried.contains("2 good, 3 not") || tried.contains("3 good, 2 not"), "{tried}");
}

#[test]
fn a_rule_in_javascript() {
    let wrong = ("const celsius = Math", "const celsius = reading.no.such; Math");
    a_folder_is_built_and_tried("javascript", "rule.js", wrong, "exception: TypeError");
}

#[test]
fn a_rule_in_python() {
    let wrong = ("celsius = round(", "celsius = reading['no such'] or round(");
    a_folder_is_built_and_tried("python", "rule.py", wrong, "exception: KeyError: 'no such'");
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let dir = TempDir::new().expect("a folder");
    let folder = dir.path().join("celsius");
    let folder = folder.to_str().expect("UTF-8");
    assert!(run(&["plugin", "new", folder, "--lang", "python"]).status.success());
    let again = run(&["plugin", "new", folder, "--lang", "python"]);
    assert_eq!(again.status.code(), Some(64));
    assert!(text(&again).contains("is there already"), "{}", text(&again));
    let mut without = Command::new(Tidegate::binary());
    let without = without.args(["plugin", "build", folder]).env("PATH", "/nowhere").output().expect("it runs");
    assert_eq!(without.status.code(), Some(69));
    assert!(text(&without).contains("pip install componentize-py=="), "{}", text(&without));
    std::fs::write(dir.path().join("celsius/plugin.toml"), "name = 'x'\nlanguage = 'cobol'").expect("written");
    let unknown = run(&["plugin", "build", folder]);
    assert_eq!(unknown.status.code(), Some(78));
    assert!(text(&unknown).contains("cobol") && text(&unknown).contains("line 2"), "{}", text(&unknown));
    let unnamed = run(&["plugin", "new", "a b", "--lang", "python"]);
    assert!(text(&unnamed).contains("cannot name a plugin"), "{}", text(&unnamed));
    // Samples that do not hold end with 1, a component that is none with 78.
    let component = dir.path().join("x.wasm");
    std::fs::write(&component, "(module)").expect("written");
    let none = run(&["plugin", "inspect", component.to_str().expect("UTF-8")]);
    assert_eq!(none.status.code(), Some(78));
    assert!(text(&none).contains("does not begin with"), "{}", text(&none));
}
