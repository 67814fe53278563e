//! The house keeps its shape: arrows between crates point down only, big names stand in one crate each, files stay small.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crates of ours each one may depend on. As drawn in ARCHITECTURE.md, with two liberties that it names: the
/// command checks and explains configurations, and its clients read certificates as links do.
const ARROWS: [(&str, &[&str]); 10] = [
    ("message", &[]),
    ("mqtt", &["message"]),
    ("config", &["message"]),
    ("plugin", &["message"]),
    ("spool", &["message"]),
    ("link", &["mqtt", "message"]),
    ("broker", &["mqtt", "message"]),
    ("gateway", &["link", "broker", "plugin", "spool", "config", "mqtt", "message"]),
    ("tidegate", &["gateway", "spool", "config", "link", "message"]),
    // An independent check of the product uses nothing of it.
    ("testkit", &[]),
];

/// Crates from elsewhere that only these of ours may name. rumqttc is the independent implementation of MQTT: `mqtt` is held
/// against its packets, and the clients of the command are real ones of it (docs/decisions/0001).
const SOLE_OWNERS: [(&str, &[&str]); 2] = [("rumqttc", &["mqtt", "tidegate"]), ("wasmtime", &["plugin"])];

/// A file that a person can hold.
const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root of the workspace")
}

/// What cargo says of the workspace.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"]);
    let output = command.arg(root().join("Cargo.toml")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("metadata in JSON")
}

/// Every package of the workspace, by name.
fn packages() -> BTreeMap<String, Value> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages.map(|package| (text(&package["name"]).to_owned(), package.clone())).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// What a package needs to be built, tests left out.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(|dependency| dependency["kind"] != "dev").map(|dependency| text(&dependency["name"])).collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("tidegate-").unwrap_or(name)
}

fn is_ours(name: &str) -> bool {
    name == "tidegate" || name.starts_with("tidegate-")
}

/// Files below a folder, without what is built.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if !["target", "node_modules"].contains(&&*name) && !name.starts_with('.') {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|one| extension == *one))
}

/// `cargo run`, as the README has it, without a word about which binary.
#[test]
fn cargo_run_means_tidegate() {
    let metadata = metadata();
    let defaults = metadata["workspace_default_members"].as_array().expect("packages");
    let is_default = |package: &&Value| defaults.contains(&package["id"]);
    let packages = metadata["packages"].as_array().expect("packages").iter().filter(is_default);
    let targets = packages.flat_map(|package| package["targets"].as_array().expect("targets"));
    let binaries: Vec<&str> = targets.filter(|one| one["kind"][0] == "bin").map(|one| text(&one["name"])).collect();
    assert_eq!(binaries, ["tidegate"]);
}

#[test]
fn arrows_point_down_only() {
    let packages = packages();
    for (name, allowed) in ARROWS {
        let full = if name == "tidegate" { name.to_owned() } else { format!("tidegate-{name}") };
        let package = packages.get(&full).unwrap_or_else(|| panic!("no crate `{full}`"));
        let ours: BTreeSet<&str> = dependencies(package).into_iter().filter(|name| is_ours(name)).map(short).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let forbidden: Vec<_> = ours.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "crate `{name}` must not depend on {forbidden:?}");
    }
}

#[test]
fn every_crate_has_its_place_in_the_house() {
    let placed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let packages = packages();
    let crates = root().join("crates");
    for (name, package) in &packages {
        let manifest = Path::new(text(&package["manifest_path"]));
        if manifest.starts_with(&crates) {
            assert!(placed.contains(short(name)), "say in this test what `{name}` may depend on");
        }
    }
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for entry in std::fs::read_dir(&crates).expect("crates") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(map.contains(&format!("| `{name}` |")), "ARCHITECTURE.md does not know the crate `{name}`");
    }
}

#[test]
fn big_names_stand_only_in_the_crates_they_are_for() {
    for (name, package) in &packages() {
        for (foreign, owners) in SOLE_OWNERS {
            let uses = package["dependencies"].as_array().expect("dependencies").iter();
            // The benchmark measures what others make of the codec.
            let uses = uses.filter(|dependency| dependency["kind"] != "dev" && short(name) != "bench");
            let names = uses.map(|dependency| text(&dependency["name"])).any(|dependency| dependency == foreign);
            assert!(
                !names || owners.contains(&short(name)),
                "`{name}` depends on {foreign}, which is for {owners:?} alone"
            );
        }
    }
    for (foreign, owners) in SOLE_OWNERS {
        for path in files(&root().join("crates")) {
            let its = owners.iter().any(|owner| path.starts_with(root().join("crates").join(owner)));
            if its || !has_extension(&path, &["rs"]) {
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("a source");
            assert!(!source.contains(&format!("{foreign}::")), "{} names {foreign}", path.display());
        }
    }
}

#[test]
fn no_crate_is_left_out_of_the_lints() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"forbid\""), "unsafe is forbidden in the workspace");
    for (name, package) in &packages() {
        let manifest = std::fs::read_to_string(text(&package["manifest_path"])).expect("a manifest");
        let lints = manifest.split("\n[lints]\n").nth(1).unwrap_or_default();
        assert!(lints.trim_start().starts_with("workspace = true"), "`{name}` lacks `[lints] workspace = true`");
    }
}

#[test]
fn no_file_is_a_room_without_walls() {
    let sources =
        files(&root().join("crates")).into_iter().filter(|path| path.components().any(|c| c.as_os_str() == "src"));
    let mut seen = 0;
    for path in sources.filter(|path| has_extension(path, &["rs"])) {
        let lines = std::fs::read_to_string(&path).expect("a source").lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, at most {LINES_MAX} are allowed", path.display());
        seen += 1;
    }
    assert!(seen > 50, "only {seen} files were looked at");
}

#[test]
fn nothing_written_for_people_names_a_path_of_one_machine() {
    let root = root();
    let written = files(&root).into_iter().filter(|path| has_extension(path, &["md", "toml", "service", "wit"]));
    let mut seen = 0;
    for path in written {
        let content = std::fs::read_to_string(&path).expect("a text");
        let examples = path.starts_with(root.join("examples"));
        let mut is_example = examples;
        for (number, line) in content.lines().enumerate() {
            // So is what stands between fences.
            is_example ^= !examples && line.trim_start().starts_with("```");
            let found = ["/work/", "/root/", "/home/", "/tmp/"].into_iter().find(|place| names_path(line, place));
            let foreign = found.filter(|place| !(is_example && *place == "/tmp/"));
            assert_eq!(foreign, None, "{}:{}: {line}", path.display(), number + 1);
        }
        seen += 1;
    }
    assert!(seen > 20, "only {seen} files were looked at");
}

/// Whether a path begins with `place`; `dev/home/` and `https://host/home/` are no such paths.
fn names_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "-_./}>*".contains(c))
    })
}

#[test]
fn shipped_plugins_are_what_their_source_says() {
    let output = Command::new(root().join("scripts/build-plugins")).arg("--check").output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for path in files(&root().join("plugins/dist")).into_iter().filter(|path| has_extension(path, &["wasm"])) {
        let bytes = std::fs::read(&path).expect("a component");
        for place in ["/work/", "/root/", "/home/"] {
            let found = bytes.windows(place.len()).any(|window| window == place.as_bytes());
            assert!(!found, "{} names a path below {place}", path.display());
        }
    }
}

#[test]
fn the_unsafe_in_guests_stays_in_the_bindings() {
    for path in files(&root().join("plugins")).into_iter().filter(|path| has_extension(path, &["rs"])) {
        if path.starts_with(root().join("plugins/hostile")) {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source");
        assert!(!source.contains("unsafe"), "{} has unsafe code", path.display());
    }
}
