//! Words, numbers and texts as the C library hands them to mosquitto: `strtok_r`, `atoi`, `isspace`.

use tidegate_message::text::is_portable;

/// What is left of a line. Words are separated by blanks and by nothing else: a tab is part of a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    pub(crate) fn of(line: &'a str) -> Self {
        Self(line)
    }

    /// The next word; the blank behind it is gone too.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        let start = self.0.trim_start_matches(' ');
        let (word, rest) = start.split_once(' ').unwrap_or((start, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// All that is left, blanks included.
    pub(crate) fn rest(&mut self) -> Option<&'a str> {
        let rest = std::mem::take(&mut self.0);
        (!rest.is_empty()).then_some(rest)
    }
}

/// The number that a text begins with; 0 for one that begins with none. It never fails, which is why `12x` and `x` pass.
pub(crate) fn atoi(text: &str) -> i32 {
    let text = text.trim_start_matches(is_space);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit);
    let number = digits.fold(0_i64, |number, digit| {
        (number * 10 + i64::from(digit - b'0')).min(i64::from(i32::MAX)) // longer ones are undefined in C
    });
    let number = if negative { -number } else { number };
    number as i32 // within, by the minimum above
}

/// Without white space at both ends.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// Whether mosquitto takes it as a text: no control characters, no non-characters (its `mosquitto_validate_utf8`).
pub(crate) fn is_text(text: &str) -> bool {
    is_portable(text)
}

/// `14d`: hours, of months with 30 days and years with 365, as mosquitto has them.
pub(crate) fn expiration_hours(text: &str) -> Option<u64> {
    /// What fits into the four bytes of MQTT 5, in hours.
    const MAX: u64 = 0xFFFF_FFFE / 3600;
    let word = text.split(' ').next()?;
    let unit = word.chars().next_back()?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 24 * 7,
        'm' => 24 * 30,
        'y' => 24 * 365,
        _ => return None,
    };
    let count = u64::try_from(atoi(&word[..word.len() - 1])).ok().filter(|count| *count > 0)?;
    Some((count * hours).min(MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_separate_words_and_tabs_do_not() {
        let mut words = Words::of("  topic   a\tb  out  ");
        assert_eq!(
            (words.word(), words.word(), words.word(), words.word()),
            (Some("topic"), Some("a\tb"), Some("out"), None)
        );
        let mut words = Words::of("password  a # b ");
        assert_eq!((words.word(), words.rest(), words.rest()), (Some("password"), Some(" a # b "), None));
        assert_eq!(Words::of("   ").word(), None);
    }

    #[test]
    fn numbers_are_what_a_text_begins_with() {
        for (text, number) in [
            ("60", 60),
            ("60s", 60),
            ("-3", -3),
            ("+4", 4),
            ("\t5", 5),
            ("x", 0),
            ("", 0),
            ("-", 0),
            ("99999999999999999999999", i32::MAX),
        ] {
            assert_eq!(atoi(text), number, "{text}");
        }
    }

    #[test]
    fn expirations_have_mosquittos_months_and_years() {
        for (text, hours) in [
            ("2h", Some(2)),
            ("14d", Some(336)),
            ("1w", Some(168)),
            ("2m", Some(1440)),
            ("1y", Some(8760)),
            ("9999999999y", Some(1_193_046)),
            ("0d", None),
            ("d", None),
            ("14", None),
            ("", None),
            ("3é", None),
        ] {
            assert_eq!(expiration_hours(text), hours, "{text}");
        }
    }
}
