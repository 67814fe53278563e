//! `topic PATTERN [DIRECTION [QOS [LOCAL [REMOTE]]]]`, with what mosquitto makes of words in the wrong place.

use crate::problem::{Place, shown};
use crate::settings::{Direction, Side, TopicLine};
use crate::words::{Words, atoi};
use tidegate_message::{TopicFilter, text::PORTABLE_LEVELS_MAX};

/// What stands where nothing is meant.
const NOTHING: &str = "\"\"";

/// What a line says, and what is surprising about it.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) line: TopicLine,
    pub(crate) surprises: Vec<String>,
}

/// Reads what stands behind `topic`.
///
/// # Errors
/// What is wrong, and what to do.
pub(crate) fn read(place: &Place, mut words: Words<'_>) -> Result<Read, (String, String)> {
    let mut surprises = Vec::new();
    let mut all = words;
    let written: Vec<&str> = std::iter::from_fn(|| all.word()).collect();
    let written = format!("topic {}", written.join(" "));
    let pattern = words.word().ok_or_else(|| wrong("`topic` names no topic", "write `topic PATTERN in 1`"))?;
    let direction = match words.word() {
        None => Direction::Out,
        Some(word) if word.eq_ignore_ascii_case("out") => Direction::Out,
        Some(word) if word.eq_ignore_ascii_case("in") => Direction::In,
        Some(word) if word.eq_ignore_ascii_case("both") => Direction::Both,
        Some(word) => {
            let hint = match pattern.starts_with('"') && pattern != NOTHING {
                true => "a topic with blanks in it cannot be bridged, quoted or not",
                false => "write `out`, `in` or `both` behind the pattern; a comment there needs a line of its own",
            };
            return Err(wrong(&format!("{} is no direction", shown(word)), hint));
        }
    };
    let mut qos = 0;
    let mut prefixes = [None, None];
    if let Some(word) = words.word() {
        // mosquitto keeps the last eight bits, before it looks whether they are a QoS.
        qos = atoi(word) as u8;
        if word.starts_with('#') {
            words.rest();
        } else if qos > 2 {
            return Err(wrong(&format!("{} is no QoS", shown(word)), "write 0, 1 or 2"));
        } else if !matches!(word, "0" | "1" | "2") {
            surprises.push(format!(
                "{} stands where the QoS is: mosquitto takes it for QoS {qos}, and what is behind it for prefixes",
                shown(word)
            ));
        }
        for prefix in &mut prefixes {
            let Some(word) = words.word() else { break };
            if word.starts_with('#') {
                words.rest();
            } else if word != NOTHING {
                *prefix = Some(word.to_owned());
            }
        }
        if let Some(word) = words.word().filter(|word| !word.starts_with('#')) {
            surprises.push(format!("mosquitto does not look at {} and what is behind it", shown(word)));
        }
    }
    let [local, remote] = prefixes;
    let pattern = (pattern != NOTHING).then(|| pattern.to_owned());
    let line = TopicLine { place: place.clone(), written, pattern, direction, qos, local, remote };
    check(&line)?;
    if line.pattern.as_deref().is_some_and(|pattern| pattern.len() > 1 && pattern.starts_with('"')) {
        surprises.push("the quotes are part of the topic".to_owned());
    }
    Ok(Read { line, surprises })
}

/// What mosquitto's `bridge__add_topic` looks at.
fn check(line: &TopicLine) -> Result<(), (String, String)> {
    if line.pattern.is_none() && (line.local.is_none() || line.remote.is_none()) {
        let hint = "write `topic \"\" out 1 LOCAL REMOTE`, each a whole topic";
        return Err(wrong("the pattern `\"\"` needs both prefixes", hint));
    }
    for (side, called) in [(Side::Local, "local"), (Side::Remote, "remote")] {
        let Some(prefix) = line.prefix(side) else { continue };
        if prefix.contains(['+', '#']) {
            let what = format!("the {called} prefix {} has a wildcard", shown(prefix));
            return Err(wrong(&what, "put wildcards into the pattern"));
        }
        let whole = line.filter(side);
        // `$share` is no matter of this check, so it is put out of the way.
        let fine = TopicFilter::new(format!("x/{whole}")).is_ok() && whole.matches('/').count() <= PORTABLE_LEVELS_MAX;
        if !fine {
            let what = format!("the {called} prefix and the pattern make {}, which is no filter", shown(&whole));
            return Err(wrong(&what, "end the prefix with `/`"));
        }
    }
    Ok(())
}

fn wrong(what: &str, hint: &str) -> (String, String) {
    (what.to_owned(), hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { file: "m.conf".into(), line: 1 }
    }

    fn parts(rest: &str) -> (Option<String>, Direction, u8, Option<String>, Option<String>) {
        let TopicLine { pattern, direction, qos, local, remote, .. } = read(&place(), Words::of(rest)).unwrap().line;
        (pattern, direction, qos, local, remote)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    /// Each as mosquitto 2.0.11 takes it; tests/import.rs asks it.
    #[test]
    fn words_are_what_their_place_makes_them() {
        use Direction::{Both, In, Out};
        assert_eq!(parts("a/#"), (some("a/#"), Out, 0, None, None), "out and 0 unless written");
        assert_eq!(parts("a/# IN 1"), (some("a/#"), In, 1, None, None), "case does not matter");
        assert_eq!(parts("# both 2 l/ r/"), (some("#"), Both, 2, some("l/"), some("r/")));
        assert_eq!(parts("# both 2 \"\" r/"), (some("#"), Both, 2, None, some("r/")));
        assert_eq!(parts("# both 2 l/ \"\""), (some("#"), Both, 2, some("l/"), None));
        assert_eq!(parts("# both 2 \"\" \"\""), (some("#"), Both, 2, None, None));
        assert_eq!(parts("\"\" in 1 here there"), (None, In, 1, some("here"), some("there")));
        assert_eq!(parts("a   out   1"), (some("a"), Out, 1, None, None), "blanks in a row are one");
    }

    #[test]
    fn a_comment_is_one_behind_the_direction_only() {
        use Direction::Out;
        assert_eq!(parts("a out # b c d"), (some("a"), Out, 0, None, None));
        assert_eq!(parts("a out 1 # b c"), (some("a"), Out, 1, None, None));
        assert_eq!(parts("a out 1 l/ # b c"), (some("a"), Out, 1, some("l/"), None));
        assert_eq!(parts("a out 1 l/ r/ # b c"), (some("a"), Out, 1, some("l/"), some("r/")));
        let (what, _) = read(&place(), Words::of("a # b")).unwrap_err();
        assert_eq!(what, "`#` is no direction");
    }

    #[test]
    fn a_forgotten_qos_makes_prefixes_move_and_is_told() {
        let read = read(&place(), Words::of("# both l/ r/")).unwrap();
        assert_eq!((read.line.qos, read.line.local, read.line.remote), (0, some("r/"), None));
        assert!(read.surprises[0].contains("`l/` stands where the QoS is"), "{:?}", read.surprises);
    }

    #[test]
    fn a_qos_is_eight_bits_of_what_a_word_begins_with() {
        assert_eq!(parts("a out 258").2, 2);
        assert_eq!(parts("a out 1x").2, 1);
        assert_eq!(read(&place(), Words::of("a out 3")).unwrap_err().0, "`3` is no QoS");
        assert_eq!(read(&place(), Words::of("a out -1")).unwrap_err().0, "`-1` is no QoS");
    }

    #[test]
    fn what_mosquitto_refuses_is_refused() {
        for (rest, words) in [
            ("", "names no topic"),
            ("a sideways", "no direction"),
            ("\"a b\" out", "no direction"),
            ("\"\" out 1 here", "needs both prefixes"),
            ("\"\" out 1 \"\" there", "needs both prefixes"),
            ("\"\" out 1", "needs both prefixes"),
            ("a out 1 l/# r/", "wildcard"),
            ("a out 1 l/ r+", "wildcard"),
            ("# out 1 l/ r", "make `r#`"),
            ("+/a out 1 l r/", "make `l+/a`"),
        ] {
            let (what, hint) = read(&place(), Words::of(rest)).unwrap_err();
            assert!(what.contains(words) && !hint.is_empty(), "{rest}: {what}");
        }
    }

    #[test]
    fn words_that_nobody_looks_at_are_told() {
        let surprises = |rest| read(&place(), Words::of(rest)).unwrap().surprises;
        assert!(surprises("a out 1 l/ r/ x y")[0].contains("does not look at `x`"));
        assert!(surprises("\"a\" out 1")[0].contains("quotes are part"));
        assert!(surprises("a out 1 l/ r/ # x").is_empty());
    }
}
