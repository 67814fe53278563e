//! No text makes it panic.

use proptest::prelude::*;
use std::path::Path;
use tidegate_config::{Problems, parse};

const REFERENCE: &str = include_str!("../../../../config/tidegate.toml");

/// What must hold of every text.
fn survives(text: &str) {
    let lines = text.matches('\n').count() + 1;
    match parse(text, Path::new("gw.toml")) {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|warning| !warning.is_error()));
            assert!(config.difference(&config).is_empty());
        }
        Err(Problems(problems)) => {
            assert!(problems.iter().any(|problem| problem.is_error()));
            for problem in problems {
                let shown = problem.to_string();
                assert!(!shown.contains('\n') && !problem.hint.is_empty(), "{shown}");
                assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{shown}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn pieces_of_toml_never_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "\n", "\"", "'", "0", "-1", "1e9", "inf", "true", "#", " ",
                "routes", "brokers", "plugins", "targets", "spool", "gateway", "from", "to", "url", "a", "\"x/#\"", "remap",
                "1979-05-27", "0x1F", "\\u0000", "$share/g/", "é", "\r\n", "\0",
            ]),
            0..60,
        )
    ) {
        survives(&pieces.concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Takes a piece out of the reference, and puts another in its place.
    #[test]
    fn a_mutated_reference_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "(\\PC|\n){0,12}"), 1..4)
    ) {
        let mut text: Vec<char> = REFERENCE.chars().collect();
        for (at, length, replacement) in changes {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, replacement.chars());
        }
        survives(&text.into_iter().collect::<String>());
    }

    /// Exchanges two values of the reference, so that what parses has the wrong kind or refers to the wrong thing.
    #[test]
    fn exchanged_values_never_panic(pairs in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..4)) {
        let mut lines: Vec<String> = REFERENCE.lines().map(str::to_owned).collect();
        let values: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains(" = ")).collect();
        for (a, b) in pairs {
            let (a, b) = (values[a.index(values.len())], values[b.index(values.len())]);
            let split = |line: &str| line.split_once(" = ").map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
            let ((key_a, value_a), (key_b, value_b)) = (split(&lines[a]), split(&lines[b]));
            lines[a] = format!("{key_a} = {value_b}");
            lines[b] = format!("{key_b} = {value_a}");
        }
        survives(&lines.join("\n"));
    }
}

#[test]
fn deep_and_wide_texts_end_soon() {
    for deep in ["[".repeat(100_000), "a.".repeat(100_000) + "a = 1", format!("x = {}", "{a=".repeat(100_000))] {
        survives(&deep);
    }
    // As many routes as a generated file may have, on one broker, so that every route could lead to every other.
    let route = |n: usize| {
        format!(
            "[[routes]]\nname = \"r{n}\"\nfrom = {{ broker = \"a\", topics = [\"x{n}/#\"] }}\nto = [\"a\"]\n\
             remap = {{ strip = \"x{n}/\", prefix = \"x{}/\" }}\n",
            n + 1
        )
    };
    let head = "[gateway]\nname = \"g\"\ndata_dir = \"d\"\n[brokers.a]\nurl = \"mqtt://a\"\n";
    survives(&(head.to_owned() + &(0..1000).map(route).collect::<String>()));
}
