//! Names that Tidegate takes, each once.

use std::collections::BTreeSet;
use tidegate_config::is_name;

/// The longest name that is made, so that a suffix fits behind it.
const MAX_BYTES: usize = 40;

/// Names that are given away.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// This name, or with a number behind it if it is given away.
    pub(super) fn give(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        for number in 2.. {
            if self.0.insert(name.clone()) {
                break;
            }
            name = format!("{wanted}-{number}");
        }
        name
    }
}

/// A text made into a name; `otherwise` if nothing is left of it.
pub(super) fn made_of(text: &str, otherwise: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let name: String = text.trim_matches(['-', '_']).chars().take(MAX_BYTES).collect();
    if is_name(&name) { name } else { otherwise.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_and_differ() {
        let long = "x".repeat(100);
        for (text, name) in [
            ("office", "office"),
            ("my.bridge", "my-bridge"),
            ("-a b-", "a-b"),
            ("büro", "b-ro"),
            ("#", "other"),
            ("", "other"),
            (&*long, &long[..40]),
        ] {
            assert_eq!(made_of(text, "other"), name);
        }
        let mut names = Names::default();
        assert_eq!([names.give("a"), names.give("a"), names.give("a")], ["a", "a-2", "a-3"]);
    }
}
