//! Every file is a room that one person can hold, with its name on the door, and brings nothing that it does not use.

use super::{files, has_extension, packages, root, text};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A file that a person can hold, tests included.
const LINES_MAX: usize = 450;

/// Names that do not say what is in the room. `util` and what begins with it are refused as well.
const NAMES_THAT_SAY_NOTHING: [&str; 15] = [
    "by.rs",
    "common.rs",
    "core.rs",
    "engine.rs",
    "helper.rs",
    "helpers.rs",
    "keep.rs",
    "least.rs",
    "matches.rs",
    "misc.rs",
    "once.rs",
    "port.rs",
    "tasks.rs",
    "tile.rs",
    "types.rs",
];

/// Dependencies that are there although no source names them: package and crate.
const UNNAMED: [(&str, &str); 0] = [];

/// All of ours, in every workspace, by their paths below the root.
fn sources() -> Vec<(String, PathBuf)> {
    let root = root();
    let all = files(&root).into_iter().filter(|path| has_extension(path, &["rs"]));
    let below = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
        (name, path)
    };
    let all: Vec<_> = all.map(below).collect();
    assert!(all.len() > 200, "only {} files were looked at", all.len());
    all
}

#[test]
fn no_file_is_a_room_without_walls() {
    for (name, path) in sources() {
        let lines = std::fs::read_to_string(&path).expect("a source").lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines, at most {LINES_MAX} are allowed");
    }
}

#[test]
fn every_file_says_its_room() {
    for (name, path) in sources() {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let says_nothing =
            NAMES_THAT_SAY_NOTHING.contains(&&*file) || file == "world.rs" || file.to_lowercase().starts_with("util");
        assert!(!says_nothing, "{name}: what is in it? name the file after that");
    }
}

/// A crate's name as its sources write it.
fn as_written(dependency: &serde_json::Value) -> String {
    let name = dependency["rename"].as_str().unwrap_or_else(|| text(&dependency["name"]));
    name.replace('-', "_")
}

/// The first part of every path in a source: `bytes` of `bytes::Bytes`, not `bytes` of `let bytes`.
fn first_parts(path: &Path, into: &mut BTreeSet<String>) {
    let source = std::fs::read_to_string(path).expect("a source");
    // What a comment says is no use of it.
    for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("::") {
            let is_part_of_name = |c: char| c.is_alphanumeric() || c == '_';
            let name = line[..at].rsplit(|c| !is_part_of_name(c)).next().unwrap_or_default();
            let is_first = !line[..at - name.len()].ends_with("::");
            if is_first && !name.is_empty() {
                into.insert(name.to_owned());
            }
        }
    }
}

/// What a package's sources name: those it is built of, and those of its tests, examples and benchmarks.
fn named(package: &serde_json::Value) -> [BTreeSet<String>; 2] {
    let folder = Path::new(text(&package["manifest_path"])).parent().expect("a folder").to_owned();
    let mut named = [BTreeSet::new(), BTreeSet::new()];
    for path in files(&folder).into_iter().filter(|path| has_extension(path, &["rs"])) {
        let below = path.strip_prefix(&folder).expect("below it");
        let is_built = below.starts_with("src") || below.starts_with("build.rs");
        first_parts(&path, &mut named[usize::from(!is_built)]);
    }
    named
}

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    for (name, package) in &packages() {
        let [built, tested] = named(package);
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let written = as_written(dependency);
            // Tests inside the sources use what only tests may.
            let is_used = built.contains(&written) || (dependency["kind"] == "dev" && tested.contains(&written));
            if !is_used && !UNNAMED.contains(&(&**name, &*written)) {
                unused.push(format!("`{name}`: {written}"));
            }
        }
    }
    assert!(unused.is_empty(), "dependencies that no source names: {unused:#?}");
}
