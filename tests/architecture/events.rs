//! Every event has its name in the table, and every name of the table is said somewhere.

use super::{files, has_extension, root};
use std::collections::BTreeSet;

const LINES: [&str; 3] = ["tracing::info!(", "tracing::warn!(", "tracing::error!("];

#[test]
fn every_event_is_documented_and_every_documented_event_is_said() {
    let text = |path: &std::path::Path| std::fs::read_to_string(path).expect("a text");
    let page = text(&root().join("docs/events.md"));
    let documented: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut said = BTreeSet::new();
    for path in files(&root().join("crates")).into_iter().filter(|path| has_extension(path, &["rs"])) {
        let source = text(&path);
        // What tests say is no event.
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        for at in LINES.iter().flat_map(|line| source.split(line).skip(1)) {
            let name = at.trim_start().strip_prefix("name: \"").and_then(|rest| rest.split('"').next());
            said.extend(name.map(str::to_owned));
        }
    }
    let said: BTreeSet<&str> = said.iter().map(String::as_str).collect();
    assert!(said.len() > 30, "only {} were found", said.len());
    assert_eq!(said, documented);
}
