//! What a package brings beside the command.

use crate::command::{assert_contains, stdout};
use crate::fixture::run;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

#[test]
fn shells_complete_what_there_is() {
    for (shell, words) in [("bash", "complete -F"), ("zsh", "#compdef tidegate"), ("fish", "complete -c tidegate")] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_contains(&stdout(&output), &[words, "status", "parked"]);
    }
    // What bash makes of it, which reads it from a file.
    let dir = tempfile::tempdir().unwrap();
    let ask = "COMP_WORDS=(tidegate che); COMP_CWORD=1; _tidegate tidegate che tidegate; echo \"${COMPREPLY[@]}\"";
    let script = format!("{}\n{ask}\n", stdout(&run(&["completions", "bash"])));
    std::fs::write(dir.path().join("asks"), script).unwrap();
    let bash = Command::new("bash").arg(dir.path().join("asks")).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "check", "{bash:?}");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["man", &dir.path().join("man").display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = |name: &str| std::fs::read_to_string(dir.path().join("man").join(name)).unwrap_or_default();
    assert_contains(&page("tidegate.1"), &[".TH tidegate 1", "status"]);
    for command in ["run", "check", "status", "parked", "parked-replay", "plugin-new", "test"] {
        assert_contains(&page(&format!("tidegate-{command}.1")), &[".SH SYNOPSIS"]);
    }
}

/// The reader of TOML that editors have; where `scripts/test` has put it.
fn tombi(file: &Path) -> Output {
    let python = std::env::var("TIDEGATE_TEST_PYTHON").expect("scripts/test sets it");
    let mut tool = Command::new(Path::new(&python).with_file_name("tombi"));
    tool.args(["lint", "--offline", "--no-cache"]).arg(file).stdin(Stdio::null());
    tool.output().expect("tombi runs")
}

#[test]
fn an_editor_takes_what_we_take_and_marks_what_we_refuse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let schema = run(&["schema"]);
    assert_eq!(stdout(&schema), std::fs::read_to_string(root.join("config/tidegate.schema.json")).unwrap());
    let mut shipped: Vec<PathBuf> = vec![root.join("config/tidegate.toml"), root.join("config/minimal.toml")];
    shipped.extend(["home-office", "failover"].map(|name| root.join("examples").join(name)).into_iter().flat_map(
        |folder| {
            let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
            files.filter(|file| file.extension().is_some_and(|kind| kind == "toml")).collect::<Vec<_>>()
        },
    ));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tidegate.schema.json"), &schema.stdout).unwrap();
    let lint = |text: &str| {
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("#:schema")).collect();
        let file = dir.path().join("gw.toml");
        std::fs::write(&file, format!("#:schema ./tidegate.schema.json\n{}\n", text.join("\n"))).unwrap();
        tombi(&file)
    };
    for file in &shipped {
        let text = std::fs::read_to_string(file).unwrap();
        let found = lint(&text);
        assert!(found.status.success(), "{}: {found:?}", file.display());
    }
    let text = std::fs::read_to_string(root.join("config/minimal.toml")).unwrap();
    let lines = ["data_dirr = \"x\"", "name = 1"];
    for wrong in lines {
        let found = lint(&text.replacen("[gateway]", &format!("[gateway]\n{wrong}"), 1));
        assert!(!found.status.success(), "{wrong}: {found:?}");
    }
}
