//! docs/from-mosquitto.md, word by word: its files, its commands, and what stands under them.

use crate::tutorial::Terminal;
use std::path::Path;
use tidegate_testkit::free_port;

#[test]
fn from_a_bridge_to_tidegate_as_the_page_has_it() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/from-mosquitto.md");
    let mut page = std::fs::read_to_string(page).expect("the page");
    for port in ["18841", "18842", "18843"] {
        page = page.replace(port, &free_port().to_string());
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut terminals: Vec<Terminal> = Vec::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap_or((block, ""));
        if let Some(file) = kind.strip_prefix("conf ") {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, format!("{text}\n")).expect("written");
            continue;
        }
        assert!(["console", "console background"].contains(&kind), "{kind}");
        let mut last: Option<Terminal> = None;
        for line in text.lines() {
            let Some(command) = line.strip_prefix("$ ") else {
                last.as_ref().or(terminals.last()).expect("a command before what it prints").waits_for(line);
                continue;
            };
            if kind == "console" {
                let mut terminal = Terminal::run(dir.path(), command);
                terminal.succeeds(command);
                last = Some(terminal);
            } else {
                terminals.push(Terminal::run(dir.path(), &format!("exec {command}")));
            }
        }
    }
    let [_, _, gateway, office, house] = &terminals[..] else { panic!("five terminals") };
    office.waits_for("house/sensors/hall 21.5");
    house.waits_for("commands/lamp on");
    assert!(!gateway.text().contains("ERROR"), "{}", gateway.text());
}
