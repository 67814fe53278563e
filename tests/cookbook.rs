//! docs/plugins/cookbook.md: each configuration is good, and each command says what stands under it.

use crate::command::stdout;
use std::path::Path;
use std::process::{Command, Output};
use tidegate_testkit::Tidegate;

/// What stands between the fences of this kind.
fn blocks<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let fence = format!("```{kind}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// In a folder as a reader has it: the configuration beside `plugins`, and `tidegate` on the path.
fn shell(folder: &Path, line: &str) -> Output {
    let binary = Tidegate::binary();
    let path =
        format!("{}:{}", binary.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
    Command::new("sh").args(["-c", line]).current_dir(folder).env("PATH", path).output().expect("a shell")
}

#[test]
fn every_rule_of_the_cookbook_does_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root");
    let page = std::fs::read_to_string(root.join("docs/plugins/cookbook.md")).expect("the page");
    let rules: Vec<&str> = page.split("\n## ").skip(1).collect();
    assert!(rules.len() >= 12, "{} rules", rules.len());
    let shipped = std::fs::read_dir(root.join("plugins/dist")).expect("the folder").flatten();
    let names = shipped.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".wasm")?.to_owned()));
    let unused: Vec<String> = names.filter(|name| !page.contains(&format!("plugins/dist/{name}.wasm"))).collect();
    assert_eq!(unused, [""; 0], "each shipped plugin is in a rule");
    for rule in rules {
        let title = rule.lines().next().unwrap_or_default();
        let ([config], [session]) = (&blocks(rule, "toml")[..], &blocks(rule, "console")[..]) else {
            panic!("{title}: one configuration and one session")
        };
        let dir = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(root.join("plugins"), dir.path().join("plugins")).expect("a link");
        std::fs::write(dir.path().join("gateway.toml"), config).expect("written");
        let checked = shell(dir.path(), "tidegate check gateway.toml");
        assert!(checked.status.success(), "{title}: {}", stdout(&checked));
        let mut said = String::new();
        for line in session.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => said = stdout(&shell(dir.path(), command)),
                None => assert!(said.contains(line), "{title}: no `{line}` in\n{said}"),
            }
        }
    }
}
