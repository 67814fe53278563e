//! The house keeps its shape: arrows between crates point down only, big names stand in one crate each, files stay small.

mod events;
mod rooms;
mod statements;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crates of ours each one may depend on. As drawn in ARCHITECTURE.md, with the short cuts of the command that it
/// names: it checks configurations and reads a log without a gateway, and its clients read certificates as links do.
const ARROWS: [(&str, &[&str]); 19] = [
    ("message", &[]),
    ("pacing", &[]),
    ("decisions", &["message"]),
    ("mqtt", &["message"]),
    ("config", &["decisions", "message"]),
    ("plugin", &["config", "message", "pacing"]),
    ("spool", &["message"]),
    ("persistence", &["spool", "message"]),
    ("transport", &[]),
    ("link", &["transport", "mqtt", "message", "pacing"]),
    ("nats", &["transport", "message", "pacing"]),
    ("broker", &["transport", "mqtt", "persistence", "message", "pacing"]),
    ("router", &["spool", "config", "message", "pacing"]),
    (
        "gateway",
        &["router", "link", "nats", "broker", "plugin", "spool", "config", "decisions", "mqtt", "message", "pacing"],
    ),
    ("admin", &["gateway", "config", "decisions", "message", "transport"]),
    ("workbench", &["plugin", "config", "message"]),
    ("import", &["config", "message"]),
    (
        "tidegate",
        &["admin", "gateway", "workbench", "import", "plugin", "spool", "config", "decisions", "link", "message"],
    ),
    // An independent check of the product uses nothing of it.
    ("testkit", &[]),
];

/// Crates from elsewhere that only these of ours may name. rumqttc is the independent implementation of MQTT: `mqtt` is held
/// against its packets, and the clients of the command are real ones of it (docs/decisions/0001).
const SOLE_OWNERS: [(&str, &[&str]); 3] =
    [("rumqttc", &["mqtt", "tidegate"]), ("wasmtime", &["plugin"]), ("async-nats", &["nats"])];

/// Crates whose files import each other in no ring. Their roots, which name everything, are left out.
const WITHOUT_RINGS: [&str; 6] = ["transport", "link", "nats", "persistence", "broker", "router"];

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

/// `cargo demo`, as the README has it.
#[test]
fn cargo_demo_is_a_first_look() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    assert!(read("README.md").contains("\ncargo demo\n"));
    assert!(read(".cargo/config.toml").contains("\ndemo = \"run --profile quick -- demo\"\n"));
    assert!(read("Cargo.toml").contains("\n[profile.quick]\n"));
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
fn files_of_a_crate_import_each_other_in_no_ring() {
    for name in WITHOUT_RINGS {
        let mut imports = imports_of(&root().join("crates").join(name).join("src"));
        assert!(imports.len() > 5, "only {} files of `{name}` were looked at", imports.len());
        // Who imports nobody that is left is in no ring.
        while let Some(free) = imports.iter().find(|(_, of)| of.is_empty()).map(|(module, _)| module.clone()) {
            imports.remove(&free);
            for of in imports.values_mut() {
                of.remove(&free);
            }
        }
        assert!(imports.is_empty(), "in a ring, or above one, in `{name}`: {imports:#?}");
    }
}

/// Which other modules each file of a crate imports, tests left out; by path, as in `client::turns`.
fn imports_of(sources: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let module = |path: &Path| {
        let path = path.strip_prefix(sources).expect("a source").with_extension("");
        path.iter().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>().join("::")
    };
    let paths: Vec<_> = files(sources).into_iter().filter(|path| !["lib", "tests"].contains(&&*last(path))).collect();
    let modules: BTreeSet<String> = paths.iter().map(|path| module(path)).collect();
    let imports = paths.iter().map(|path| {
        let (own, source) = (module(path), std::fs::read_to_string(path).expect("a source"));
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
        let mut found = BTreeSet::new();
        for (start, prefix) in [("crate::", ""), ("super::", parent), ("use ", &*own)] {
            for (at, _) in source.match_indices(start) {
                let rest = &source[at + start.len()..];
                let end = rest.find(|c: char| !(c.is_ascii_lowercase() || "_:".contains(c))).unwrap_or(rest.len());
                let named = [prefix, rest[..end].trim_end_matches(':')].join("::");
                let named = named.trim_matches(':');
                // The longest of our modules that the path begins with; of a path to an item that is its module.
                let is_in = |module: &&String| named == **module || named.starts_with(&format!("{module}::"));
                let target = modules.iter().filter(is_in).max_by_key(|module| module.len());
                found.extend(target.filter(|target| **target != own).cloned());
            }
        }
        (own, found)
    });
    imports.collect()
}

fn last(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
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
            let path_of_it = format!("{}::", foreign.replace('-', "_"));
            assert!(!source.contains(&path_of_it), "{} names {foreign}", path.display());
        }
    }
}

#[test]
fn no_crate_is_left_out_of_the_lints() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"forbid\""), "unsafe is forbidden in the workspace");
    assert!(workspace.contains("missing_docs = \"deny\""), "every public item says what it is");
    for (name, package) in &packages() {
        let manifest = std::fs::read_to_string(text(&package["manifest_path"])).expect("a manifest");
        let lints = manifest.split("\n[lints]\n").nth(1).unwrap_or_default();
        assert!(lints.trim_start().starts_with("workspace = true"), "`{name}` lacks `[lints] workspace = true`");
    }
}

#[test]
fn nothing_written_for_people_names_a_path_of_one_machine() {
    let root = root();
    let written = files(&root).into_iter().filter(|path| has_extension(path, &["md", "toml", "service", "wit"]));
    let checkouts = checkouts();
    let mut seen = 0;
    for path in written {
        let content = std::fs::read_to_string(&path).expect("a text");
        let examples = path.starts_with(root.join("examples"));
        let mut is_example = examples;
        for (number, line) in content.lines().enumerate() {
            // So is what stands between fences.
            is_example ^= !examples && line.trim_start().starts_with("```");
            let places = [checkouts.as_str(), "/root/", "/home/", "/tmp/"];
            let found = places.into_iter().find(|place| names_path(line, place));
            let foreign = found.filter(|place| !(is_example && *place == "/tmp/"));
            assert_eq!(foreign, None, "{}:{}: {line}", path.display(), number + 1);
        }
        seen += 1;
    }
    assert!(seen > 20, "only {seen} files were looked at");
}

/// The folder at the top of this machine that the checkout is in, such as `/srv/`.
fn checkouts() -> String {
    let root = root();
    let top = root.components().nth(1).expect("a checkout is in a folder").as_os_str();
    format!("/{}/", top.to_string_lossy())
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
        for place in [checkouts().as_str(), "/root/", "/home/"] {
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
