//! What `plugin new` writes: for each language a folder with one short rule, the contract, and bindings that are of it.

#![allow(clippy::unwrap_used)] // a test may

use clap::ValueEnum;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tidegate_workbench::{Language, Project, write};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_language_has_a_rule_of_a_page_and_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let contract = std::fs::read(root().join("wit/gateway.wit")).unwrap();
    for language in Language::value_variants() {
        let folder = dir.path().join(format!("{language:?}").to_lowercase());
        let written = write(&folder, *language).unwrap();
        let project = Project::load(&folder).unwrap();
        assert_eq!(project.language, *language);
        assert_eq!(std::fs::read(folder.join("wit/gateway.wit")).unwrap(), contract);
        assert!(folder.join("wit/migration/migration.wit").exists());
        let is_rule = |path: &&PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("rule.") || path.ends_with("celsius/src/lib.rs") || path.ends_with("rust/src/lib.rs")
        };
        let rules: Vec<_> = written.iter().filter(is_rule).collect();
        let [rule] = rules[..] else { panic!("{language:?}: {rules:?}") };
        let lines = std::fs::read_to_string(rule).unwrap().lines().count();
        assert!(lines < 40, "{}: {lines} lines", rule.display());
        let samples = project.first_samples().unwrap();
        let texts = [folder.join("README.md"), folder.join("plugin.toml"), samples];
        for text in texts.map(|path| std::fs::read_to_string(path).unwrap()) {
            assert!(!text.contains("NAME") && !text.contains("MEMORY"), "{language:?}: {text}");
        }
    }
}

#[test]
fn bindings_are_of_the_contract() {
    let contract = std::fs::read(root().join("wit/gateway.wit")).unwrap();
    let digest: String = Sha256::digest(contract).iter().map(|byte| format!("{byte:02x}")).collect();
    for bindings in ["c-helper", "go"] {
        let path = root().join("crates/workbench/templates").join(bindings).join("contract/DIGEST");
        let of = std::fs::read_to_string(path).unwrap();
        assert_eq!(of.trim(), digest, "the bindings of {bindings} are of another contract: run scripts/bindings");
    }
}
