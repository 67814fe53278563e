//! `tidegate import mosquitto`: what mosquitto itself takes, subscribes to and carries, whom it lets by the roles of its
//! dynamic-security plugin, and what the imported configuration does.

mod bridges;
mod command;
mod dynamic;
mod grammar;
mod page;

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::fixture::run;

/// Where the imported configuration keeps what waits.
const DATA_DIR: &str = "\"/var/lib/tidegate\"";

/// A mosquitto.conf in a folder.
fn written(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("mosquitto.conf");
    std::fs::write(&file, text).expect("mosquitto.conf written");
    file
}

fn import(file: &Path, more: &[&str]) -> Output {
    let file = file.to_str().expect("a path");
    run(&[&["import", "mosquitto", file], more].concat())
}

/// What the import of a configuration prints, with a place of its own for what waits.
#[track_caller]
fn imported(text: &str, more: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let output = import(&written(dir.path(), text), more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let toml = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(toml.contains(DATA_DIR), "{toml}");
    toml.replace(DATA_DIR, "\"{dir}/data\"")
}
