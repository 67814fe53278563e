//! MQTT topics as NATS subjects, and back.
//!
//! Levels become tokens, `/` becomes `.`. What a token cannot hold is written as `%` and two hexadecimal digits a byte of
//! UTF-8: `.`, `*`, `>`, `%` itself, white space and control characters, and a `$` at the beginning of the first level,
//! since NATS keeps such subjects for itself. An empty level is the token `%`. So no two topics have one subject, and
//! ordinary topics are as readable as before: `site/3/temp` is `site.3.temp`, `/a//b` is `%.a.%.b`.
//!
//! Back, what only a token can hold is written the same way: `/`, `+` and `#`. Of a subject that was made of a topic that
//! is the topic; another's may look like it. White space is what Unicode says, for servers and clients differ.

use tidegate_message::{Topic, TopicFilter};

/// The longest subject that is published to, in bytes: a server's line holds 4,096 with all else on it (its setting
/// `max_control_line`), and it hangs up on a longer one.
pub const MAX_SUBJECT_BYTES: usize = 3_584;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Where messages of a topic are published. Never empty, and without empty tokens.
pub fn subject_of(topic: &Topic) -> String {
    let text = topic.as_str();
    let mut subject = String::with_capacity(text.len() + 8);
    for (at, level) in text.split('/').enumerate() {
        if at > 0 {
            subject.push('.');
        }
        push_token(level, at == 0, &mut subject);
    }
    subject
}

/// One level as a token.
fn push_token(level: &str, is_first: bool, subject: &mut String) {
    if level.is_empty() {
        return subject.push('%');
    }
    for (at, c) in level.char_indices() {
        let reserved = c == '$' && is_first && at == 0;
        if reserved || matches!(c, '.' | '*' | '>' | '%') || c.is_whitespace() || c.is_control() {
            escape(c, subject);
        } else {
            subject.push(c);
        }
    }
}

fn escape(c: char, text: &mut String) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        text.push('%');
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The topic of messages from a subject; `None` if it would be longer than a topic can be, or there is no subject.
pub fn topic_of(subject: &str) -> Option<Topic> {
    let mut text = String::with_capacity(subject.len());
    for (at, token) in subject.split('.').enumerate() {
        if at > 0 {
            text.push('/');
        }
        push_level(token, &mut text);
    }
    Topic::new(text).ok()
}

/// One token as a level.
fn push_level(token: &str, text: &mut String) {
    if token == "%" {
        return;
    }
    let decoded = unescaped(token);
    // A null character is in no topic: such a token stays as it is written.
    let decoded = decoded.as_deref().filter(|decoded| !decoded.contains('\0')).unwrap_or(token);
    for c in decoded.chars() {
        if matches!(c, '/' | '+' | '#' | '\0') { escape(c, text) } else { text.push(c) }
    }
}

/// A text without its escapes. A `%` without two digits behind it stands for itself; `None` if what comes out is not UTF-8.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16).map(|digit| digit as u8);
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (Some(high), Some(low)) if *byte == b'%' => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// A text on one line, which [`unescaped`] gives back: control characters, `%` and what is in `also` are escaped, and blanks
/// at either end, which some clients cut.
pub(crate) fn escaped(text: &str, also: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    let inner = text.trim();
    // Of a blank text the end is the beginning.
    let start = text.len() - text.trim_start().len();
    for (at, c) in text.char_indices() {
        let at_an_end = at < start || at >= start + inner.len();
        if at_an_end || c == '%' || c.is_control() || also.contains(&c) { escape(c, &mut out) } else { out.push(c) }
    }
    out
}

/// The subjects that a filter asks for: one, or two where it asks for a level and all below it, which no one filter of NATS
/// does.
pub fn subjects_of(filter: &TopicFilter) -> Vec<String> {
    let mut subject = String::new();
    for (at, level) in filter.pattern().split('/').enumerate() {
        if level == "#" {
            return if at == 0 { vec![">".to_owned()] } else { vec![subject.clone(), subject + ".>"] };
        }
        if at > 0 {
            subject.push('.');
        }
        if level == "+" { subject.push('*') } else { push_token(level, at == 0, &mut subject) }
    }
    vec![subject]
}

/// One filter that matches all that these match, as narrow as it is easy to find; `None` if that is everything. A consumer of
/// a server before 2.10 has one filter only.
pub fn common_filter<'s>(subjects: impl IntoIterator<Item = &'s str>) -> Option<String> {
    let mut subjects = subjects.into_iter();
    let mut common: Vec<&str> = subjects.next()?.split('.').collect();
    for subject in subjects {
        let tokens: Vec<&str> = subject.split('.').collect();
        if tokens == common {
            continue;
        }
        let same = common.iter().zip(&tokens).take_while(|(one, other)| one == other && **one != ">").count();
        // `>` is for one token at least.
        common.truncate(same.min(common.len() - 1).min(tokens.len() - 1));
        common.push(">");
    }
    (common != [">"]).then(|| common.join("."))
}

/// Whether a filter of NATS matches a subject, or all subjects that another filter matches.
pub fn covers(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in filter.split('.') {
        match (part, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(text: &str) -> Topic {
        Topic::new(text).unwrap()
    }

    #[test]
    fn ordinary_topics_stay_readable_and_odd_ones_are_escaped() {
        for (text, subject) in [
            ("site/3/temp", "site.3.temp"),
            ("a", "a"),
            ("/a//b/", "%.a.%.b.%"),
            ("/", "%.%"),
            ("v1.2/a b", "v1%2E2.a%20b"),
            ("a*/>/50%", "a%2A.%3E.50%25"),
            ("$SYS/a$b/$c", "%24SYS.a$b.$c"),
            ("küche/\u{a0}\u{85}", "küche.%C2%A0%C2%85"),
        ] {
            assert_eq!(subject_of(&topic(text)), subject);
            assert_eq!(topic_of(subject), Some(topic(text)));
        }
    }

    #[test]
    fn what_others_publish_becomes_some_topic() {
        for (subject, text) in
            [("a/b.c", "a%2Fb/c"), ("x.+.#", "x/%2B/%23"), ("50%", "50%"), ("%zz.%00", "%zz/%00"), ("a.%FF", "a/%FF")]
        {
            assert_eq!(topic_of(subject).unwrap().as_str(), text);
        }
        assert_eq!(topic_of(""), None);
    }

    #[test]
    fn filters_ask_for_the_same_as_before() {
        let subjects = |text: &str| subjects_of(&TopicFilter::new(text.to_owned()).unwrap());
        assert_eq!(subjects("a/+/b"), ["a.*.b"]);
        assert_eq!(subjects("a/#"), ["a", "a.>"]);
        assert_eq!(subjects("#"), [">"]);
        assert_eq!(subjects("/+"), ["%.*"]);
        assert_eq!(subjects("$SYS/#"), ["%24SYS", "%24SYS.>"]);
        assert_eq!(subjects("$share/g/a/+"), ["a.*"]);
    }

    #[test]
    fn one_filter_for_many() {
        let common = |subjects: &[&str]| common_filter(subjects.iter().copied());
        assert_eq!(common(&["a.*.b"]).as_deref(), Some("a.*.b"));
        assert_eq!(common(&["a.b", "a.b.>"]).as_deref(), Some("a.>"));
        assert_eq!(common(&["a.b.c", "a.b.d", "a"]), None);
        assert_eq!(common(&["a.b.c", "a.d"]).as_deref(), Some("a.>"));
        assert_eq!(common(&["a", "b"]), None);
        assert_eq!(common(&[">", "b"]), None);
        assert_eq!(common(&[]), None);
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c]{0,2}", "[a-c$.*>% \\t\u{e9}\u{a0}\u{2003}\u{85}0-9A-F]{0,5}", "\\PC{0,4}"]
            .prop_map(|level| level.replace(['+', '#', '/', '\0'], "x"))
    }

    fn topics() -> impl Strategy<Value = Topic> {
        prop::collection::vec(level(), 1..5).prop_filter_map("not empty", |levels| Topic::new(levels.join("/")).ok())
    }

    fn filters() -> impl Strategy<Value = TopicFilter> {
        let level = prop_oneof![3 => level(), 1 => Just("+".to_owned())];
        (prop::collection::vec(level, 0..4), any::<bool>()).prop_filter_map("valid", |(mut levels, all)| {
            levels.extend(all.then(|| "#".to_owned()));
            TopicFilter::new(levels.join("/")).ok().filter(|filter| filter.share().is_none())
        })
    }

    proptest! {
        #[test]
        fn every_topic_comes_back_from_a_subject_that_nats_takes(topic in topics()) {
            let subject = subject_of(&topic);
            prop_assert!(!subject.starts_with('$'), "{subject}");
            prop_assert!(subject.split('.').all(|token| !token.is_empty() && token != "*" && token != ">"), "{subject}");
            prop_assert!(!subject.contains(|c: char| c.is_whitespace() || c.is_control()), "{subject:?}");
            prop_assert_eq!(topic_of(&subject), Some(topic));
        }

        #[test]
        fn every_subject_of_a_topic_comes_back_from_the_topic(subject in "[a-c.%$0-9A-F/+#]{1,12}") {
            if let Some(topic) = topic_of(&subject) {
                let canonical = subject_of(&topic);
                prop_assert_eq!(topic_of(&canonical), Some(topic));
            }
        }

        #[test]
        fn a_filter_matches_a_topic_as_its_subjects_match_the_subject(filter in filters(), topic in topics()) {
            let subject = subject_of(&topic);
            let matches = subjects_of(&filter).iter().any(|one| covers(one, &subject));
            // What a wildcard must not reach in MQTT, the gateway leaves out itself.
            let hidden = topic.is_reserved() && filter.pattern().starts_with(['+', '#']);
            prop_assert_eq!(filter.matches(&topic), matches && !hidden);
        }

        #[test]
        fn a_common_filter_covers_each(filters in prop::collection::vec(filters(), 1..4)) {
            let subjects: Vec<String> = filters.iter().flat_map(subjects_of).collect();
            if let Some(common) = common_filter(subjects.iter().map(String::as_str)) {
                prop_assert!(subjects.iter().all(|one| covers(&common, one)), "{common} for {subjects:?}");
            }
        }

        #[test]
        fn escaped_texts_come_back(text in "\\PC{0,6}|[ \\r\\n\\t%=a-f0-9\u{a0}]{0,8}") {
            let one_line = escaped(&text, &['=']);
            prop_assert!(!one_line.contains(|c: char| c.is_control() || c == '='), "{one_line:?}");
            prop_assert_eq!(one_line.trim(), &*one_line);
            prop_assert_eq!(unescaped(&one_line), Some(text));
        }
    }
}
