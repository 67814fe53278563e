//! Configurations with 10,000 routes are read in the time of a few: nothing compares each route with each other one.
//!
//! No time is asserted. Where something compares all with all again, these tests take minutes.

#[path = "../../examples/many_routes.rs"]
mod generator;

use generator::configuration;
use std::path::Path;
use tidegate_config::{Problem, load_text, parse};

fn warnings(count: usize, shape: &str) -> Vec<Problem> {
    let text = configuration(count, shape).unwrap();
    let (config, warnings) = parse(&text, Path::new("many.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    let again = config.clone();
    assert!(config.difference(&again).is_empty());
    warnings
}

#[test]
fn ten_thousand_routes_that_have_nothing_to_do_with_each_other_say_nothing() {
    for shape in ["bridge", "both-ways", "same", "wide"] {
        assert_eq!(warnings(10_000, shape), [], "{shape}");
    }
    let chain = warnings(10_000, "chain");
    assert!(chain.len() == 1 && chain[0].what.contains("the broker `office`"), "{chain:?}");
}

#[test]
fn filters_that_overlap_are_warned_of_among_ten_thousand() {
    // `+/8/temp` and `site/9/+` have nothing in common until the one is `site/8/+`.
    let text = configuration(10_000, "wildcards").unwrap();
    for (edit, found) in [("site/9/+", 0), ("site/8/+", 1)] {
        let (_, warnings) = parse(&text.replace("site/9/+", edit), Path::new("many.toml")).unwrap();
        assert_eq!(warnings.len(), found, "{warnings:?}");
    }
    assert_eq!(warnings(10_000, "overlaps").len(), 9999, "all but the first get into the way of an earlier one");
}

#[test]
fn a_ring_of_a_thousand_routes_is_found() {
    let loaded = load_text(&configuration(1000, "ring").unwrap(), Path::new("many.toml")).unwrap();
    let rings: Vec<_> = loaded.notes.iter().filter(|note| note.what.starts_with("a ring:")).collect();
    assert!(rings.len() == 1 && rings[0].what.matches(" to broker ").count() == 1000, "{rings:?}");
}

#[test]
fn filters_of_very_many_levels_are_no_danger_to_the_stack() {
    let deep = "a/".repeat(30_000);
    let text = configuration(2, "bridge").unwrap().replace("site/0/#", &deep).replace("site/1/#", &format!("{deep}+"));
    assert!(parse(&text, Path::new("deep.toml")).is_ok());
}
