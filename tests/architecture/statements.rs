//! The page about what the standard asks names tests that are there.

use super::root;
use std::collections::BTreeMap;

/// What a row of `docs/conformance.md` says, in short.
const VERDICTS: [&str; 4] = ["yes", "untested", "differs", "n/a"];

#[test]
fn the_table_of_statements_names_tests_that_are_there_and_counts_them_right() {
    let root = root();
    let page = std::fs::read_to_string(root.join("docs/conformance.md")).expect("the page");
    let mut sources = BTreeMap::new();
    let mut counted: Vec<BTreeMap<&str, usize>> = Vec::new();
    for line in page.lines() {
        if line.starts_with("## MQTT") {
            counted.push(BTreeMap::new());
        }
        let Some(row) = line.strip_prefix("| MQTT-") else { continue };
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [number, _, tests, verdict] = cells[..] else { panic!("a row with other cells: {line}") };
        let verdict = VERDICTS.into_iter().find(|known| verdict.starts_with(known)).unwrap_or_else(|| panic!("{line}"));
        *counted.last_mut().expect("a heading before it").entry(verdict).or_default() += 1;
        let named = tests.split('`').filter_map(|part| part.split_once("::"));
        let mut tests = 0;
        for (file, test) in named {
            let source = sources.entry(file.to_owned()).or_insert_with(|| {
                std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{number}: {file}: {error}"))
            });
            let name = test.rsplit("::").next().unwrap_or(test);
            assert!(source.contains(&format!("fn {name}(")), "{number}: there is no {name} in {file}");
            assert!(!source.contains("#[ignore"), "{file} has a test that does not run");
            tests += 1;
        }
        assert!(tests > 0 || verdict != "yes", "{number} is met, and no test is named");
    }
    let [five, three] = &counted[..] else { panic!("{} tables", counted.len()) };
    assert!(five.values().sum::<usize>() > 200 && three.values().sum::<usize>() > 100, "the tables were read");
    for verdict in VERDICTS {
        let count = |table: &BTreeMap<&str, usize>| table.get(verdict).copied().unwrap_or_default();
        let row = format!("| `{verdict}` | {} | {} |", count(five), count(three));
        assert!(page.contains(&row), "the page does not say {row}");
    }
}
