//! `scripts/release` makes a version of what is committed, or says what is missing and changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

const TAKEN: [&str; 6] =
    ["Cargo.toml", "Cargo.lock", "fuzz/Cargo.lock", "CHANGELOG.md", "docs/install.md", "scripts/release"];

const NOW: &str = env!("CARGO_PKG_VERSION");

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "nobody").env(format!("GIT_{who}_EMAIL"), "nobody@tidegate.example");
    }
    command.args(arguments).current_dir(folder).env("HOME", folder).output().expect("it runs")
}

#[track_caller]
fn good(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = run(folder, program, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Each package of a lock file with its version.
fn versions(folder: &Path, file: &str) -> BTreeMap<(String, usize), String> {
    let text = std::fs::read_to_string(folder.join(file)).expect("a lock file");
    let mut all = BTreeMap::new();
    let mut name = "";
    for (at, line) in text.lines().enumerate() {
        if let Some(found) = line.strip_prefix("name = ") {
            name = found.trim_matches('"');
        } else if let Some(version) = line.strip_prefix("version = \"") {
            all.insert((name.to_owned(), at), version.trim_end_matches('"').to_owned());
        }
    }
    all
}

#[test]
fn a_release_is_a_version_a_section_of_the_changelog_and_a_tag() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, root) = (dir.path(), Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    for file in TAKEN {
        let to = folder.join(file);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(root.join(file), to).expect("copied");
    }
    let release = |version: &str| {
        let output = run(folder, "scripts/release", &[version, "--no-tests", "--no-packages"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    good(folder, "git", &["init", "--quiet"]);
    good(folder, "git", &["add", "-A"]);
    good(folder, "git", &["commit", "--quiet", "-m", "what there is"]);
    let before = versions(folder, "Cargo.lock");

    for (version, code, words) in [
        ("2", 64, "2 is no version such as 0.2.0"),
        (NOW, 65, "does not come after"),
        ("0.0.9", 65, "0.0.9 does not come after"),
    ] {
        let (ended, said) = release(version);
        assert!(ended == Some(code) && said.contains(words), "{version}: {said}");
    }
    std::fs::write(folder.join("more"), "").expect("written");
    assert!(release("77.0.0").1.contains("there are changes that are not committed"));
    std::fs::remove_file(folder.join("more")).expect("removed");
    assert_eq!(good(folder, "git", &["log", "--oneline"]).lines().count(), 1, "nothing was changed");

    assert_eq!(release("77.0.0"), (Some(0), String::new()));
    assert_eq!(good(folder, "git", &["status", "--porcelain"]), "");
    let tag = good(folder, "git", &["cat-file", "-p", "v77.0.0"]);
    assert!(tag.contains("Tidegate 77.0.0\n") && tag.contains("\n### "), "{tag}");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    assert!(manifest.contains("\nversion = \"77.0.0\"\n"));
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        for ((name, _), version) in versions(folder, file) {
            let is_ours = name.starts_with("tidegate") && name != "tidegate-fuzz";
            assert_eq!(version == "77.0.0", is_ours, "{file}: {name} {version}");
        }
    }
    let is_others = |((name, _), _): &(&(String, usize), &String)| !name.starts_with("tidegate");
    let after = versions(folder, "Cargo.lock");
    assert!(before.iter().filter(is_others).eq(after.iter().filter(is_others)), "others are as they were");
    let changelog = std::fs::read_to_string(folder.join("CHANGELOG.md")).expect("a changelog");
    assert!(changelog.contains("## [Unreleased]\n\n## [77.0.0] - 20"), "{}", &changelog[..600]);
    // Until something is new there is no next one.
    let (code, said) = release("77.0.1");
    assert!(code == Some(65) && said.contains("nothing stands under [Unreleased]"), "{said}");
}
