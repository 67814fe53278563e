//! Finds fields of a JSON payload by their paths, without building a tree: a payload is walked once, byte by byte, and
//! what is found are ranges of it, to be read or replaced in place.
//!
//! The walk covers the whole payload, so that what is not JSON (RFC 8259) is noticed wherever it is wrong. Of a key that
//! occurs twice in an object the last one counts, as for most parsers; those before it are passed over. Numbers may be of
//! any size. Nesting is bounded by [`MAX_DEPTH`], and so is the walk's stack.
//!
//! A native tree (`serde_json::Value`) of 200 bytes, read and written, costs as much as everything else the gateway does
//! with a message; this costs a tenth.

use serde::{Deserialize, Deserializer, de};
use std::{borrow::Cow, ops::Range};

/// Deeper nesting is refused: no honest payload has it.
pub const MAX_DEPTH: usize = 128;

/// So many paths can be looked for in one walk.
pub const MAX_PATHS: usize = 64;

/// Where a field is: `"a.b"` is `b` in the object `a`; `"readings.0"` is the first of an array. A key with a dot in it is
/// written as a list: `["a.b", "c"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<String>);

impl Path {
    /// The path written like this; none if a part of it is empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_keys(text.split('.').map(str::to_owned).collect())
    }

    /// The path through these keys; none if it has none, or too many.
    #[must_use]
    pub fn from_keys(keys: Vec<String>) -> Option<Self> {
        let sound = !keys.is_empty() && keys.len() <= MAX_DEPTH && keys.iter().all(|key| !key.is_empty());
        sound.then_some(Self(keys))
    }

    /// The same place but for its last key.
    #[must_use]
    pub fn sibling(&self, key: &str) -> Self {
        let mut keys = self.0.clone();
        keys.pop();
        keys.push(key.to_owned());
        Self(keys)
    }

    /// Whether one of the two is the other, or within it.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Option<Path>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a path such as \"a.b\" or [\"a\", \"b\"]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Path::parse(text))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut keys: A) -> Result<Self::Value, A::Error> {
                let mut path = Vec::new();
                while let Some(key) = keys.next_element()? {
                    path.push(key);
                }
                Ok(Path::from_keys(path))
            }
        }

        from.deserialize_any(Visitor)?.ok_or_else(|| de::Error::custom("a path has no empty keys, and at least one"))
    }
}

/// A field in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its key with the quotes; empty for an element of an array.
    pub key: Range<usize>,
    /// Its value, with the quotes if it is a string.
    pub value: Range<usize>,
}

impl Field {
    /// The number, if the value is one that fits an `f64`.
    #[must_use]
    pub fn number(&self, payload: &[u8]) -> Option<f64> {
        let value = &payload[self.value.clone()];
        if !matches!(value.first(), Some(b'-' | b'0'..=b'9')) {
            return None;
        }
        std::str::from_utf8(value).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The text of a string without quotes and escapes; anything else as it is written.
    #[must_use]
    pub fn text<'a>(&self, payload: &'a [u8]) -> Cow<'a, str> {
        let value = &payload[self.value.clone()];
        match value {
            [b'"', text @ .., b'"'] => unescape(text),
            other => String::from_utf8_lossy(other),
        }
    }
}

/// The payload is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// Where it stops being it.
    pub at: usize,
}

impl std::fmt::Display for NotJson {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "not JSON at byte {}", self.at)
    }
}

impl std::error::Error for NotJson {}

/// The field at this path.
///
/// # Errors
/// If the payload is not JSON.
pub fn find(payload: &[u8], path: &Path) -> Result<Option<Field>, NotJson> {
    let mut found = [const { None }];
    find_each(payload, std::slice::from_ref(path), &mut found)?;
    let [field] = found;
    Ok(field)
}

/// The fields at these paths, each in its place in `found`.
///
/// # Errors
/// If the payload is not JSON.
///
/// # Panics
/// If there are more than [`MAX_PATHS`] paths, or not as many places.
pub fn find_each(payload: &[u8], paths: &[Path], found: &mut [Option<Field>]) -> Result<(), NotJson> {
    assert!(paths.len() <= MAX_PATHS && paths.len() == found.len(), "a place for each of at most {MAX_PATHS} paths");
    found.fill(None);
    let all = if paths.len() == MAX_PATHS { u64::MAX } else { (1 << paths.len()) - 1 };
    let mut walk = Walk { payload, at: 0, ascii: true, paths, found };
    walk.space();
    walk.value(all, 0)?;
    walk.space();
    if walk.at < payload.len() {
        return Err(walk.wrong());
    }
    if !walk.ascii {
        std::str::from_utf8(payload).map_err(|error| NotJson { at: error.valid_up_to() })?;
    }
    Ok(())
}

struct Walk<'a> {
    payload: &'a [u8],
    at: usize,
    /// Outside strings JSON is ASCII anyway; what is not has yet to prove itself UTF-8.
    ascii: bool,
    paths: &'a [Path],
    found: &'a mut [Option<Field>],
}

impl Walk<'_> {
    /// Steps over a value. `live` has a bit for each path that leads into it; `depth` is how many keys led here.
    fn value(&mut self, live: u64, depth: usize) -> Result<(), NotJson> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.object(live, depth),
            Some(b'[') => self.array(live, depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.wrong()),
        }
    }

    fn object(&mut self, live: u64, depth: usize) -> Result<(), NotJson> {
        self.open(depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key_start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.wrong());
            }
            let escaped = self.string()?;
            let key = key_start..self.at;
            self.space();
            if !self.take(b':') {
                return Err(self.wrong());
            }
            self.space();
            let live = if live == 0 { 0 } else { self.that_go_on_with_key(live, depth, &key, escaped) };
            self.child(live, depth, key)?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, live: u64, depth: usize) -> Result<(), NotJson> {
        self.open(depth)?;
        if self.take(b']') {
            return Ok(());
        }
        for index in 0_usize.. {
            let live = if live == 0 { 0 } else { self.that_go_on_with_index(live, depth, index) };
            let nowhere = self.at..self.at;
            self.child(live, depth, nowhere)?;
            if !self.more(b']')? {
                break;
            }
        }
        Ok(())
    }

    /// Steps over a member's value and notes it for the paths that end here.
    fn child(&mut self, live: u64, depth: usize, key: Range<usize>) -> Result<(), NotJson> {
        if live == 0 {
            return self.value(0, depth + 1);
        }
        // Of two members with one key the last counts: forget what was found in an earlier one.
        self.each(live, |walk, path| walk.found[path] = None);
        let value_start = self.at;
        self.value(live, depth + 1)?;
        let value = value_start..self.at;
        self.each(live, |walk, path| {
            if walk.paths[path].0.len() == depth + 1 {
                walk.found[path] = Some(Field { key: key.clone(), value: value.clone() });
            }
        });
        Ok(())
    }

    fn each(&mut self, mut live: u64, mut act: impl FnMut(&mut Self, usize)) {
        while live != 0 {
            act(self, live.trailing_zeros() as usize);
            live &= live - 1;
        }
    }

    fn that_go_on_with_key(&mut self, live: u64, depth: usize, key: &Range<usize>, escaped: bool) -> u64 {
        let payload = self.payload;
        let written = &payload[key.start + 1..key.end - 1];
        let mut on = 0;
        self.each(live, |walk, path| {
            if walk.paths[path].0.get(depth).is_some_and(|wanted| is_key(written, escaped, wanted)) {
                on |= 1 << path;
            }
        });
        on
    }

    fn that_go_on_with_index(&mut self, live: u64, depth: usize, index: usize) -> u64 {
        let mut on = 0;
        self.each(live, |walk, path| {
            if walk.paths[path].0.get(depth).is_some_and(|wanted| wanted.parse() == Ok(index)) {
                on |= 1 << path;
            }
        });
        on
    }

    /// Steps over a string; says whether there are escapes in it. The bytes between quotes are the most of a payload, so they are read eight at a time.
    fn string(&mut self) -> Result<bool, NotJson> {
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            while let Some(eight) = self.payload.get(at..at + 8) {
                let ends = string_ends(eight.try_into().expect("eight bytes"));
                if ends != 0 {
                    at += (ends.trailing_zeros() / 8) as usize;
                    break;
                }
                at += 8;
            }
            match self.payload.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at = at;
                    self.escape()?;
                    at = self.at;
                }
                Some(0x20..0x80) => at += 1,
                Some(0x80..) => {
                    self.ascii = false;
                    at += 1;
                }
                _ => {
                    self.at = at;
                    return Err(self.wrong());
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                        return Err(self.wrong());
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotJson> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        let mut at = start;
        while self.payload.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        self.at = at;
        if at > start { Ok(()) } else { Err(self.wrong()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        if !self.payload[self.at..].starts_with(word) {
            return Err(self.wrong());
        }
        self.at += word.len();
        Ok(())
    }

    fn open(&mut self, depth: usize) -> Result<(), NotJson> {
        if depth == MAX_DEPTH {
            return Err(self.wrong());
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// After a member: whether another follows, or the end.
    fn more(&mut self, end: u8) -> Result<bool, NotJson> {
        self.space();
        if self.take(b',') {
            self.space();
            return Ok(true);
        }
        if self.take(end) { Ok(false) } else { Err(self.wrong()) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.payload.get(self.at).copied()
    }

    fn wrong(&self) -> NotJson {
        NotJson { at: self.at }
    }
}

/// Of eight bytes, the high bit of each one that a string does not simply go on with: a quote, a backslash, a control
/// character, or no ASCII. Above the first such byte bits may be set wrongly; only the lowest counts.
fn string_ends(eight: [u8; 8]) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let bytes = u64::from_le_bytes(eight);
    let is = |byte: u8| {
        let differs = bytes ^ (LOW * u64::from(byte));
        differs.wrapping_sub(LOW) & !differs
    };
    (is(b'"') | is(b'\\') | bytes.wrapping_sub(LOW * 0x20) & !bytes | bytes) & HIGH
}

/// Whether a key, as written between its quotes, is the one wanted.
fn is_key(written: &[u8], escaped: bool, wanted: &str) -> bool {
    if escaped { unescape(written) == wanted } else { written == wanted.as_bytes() }
}

/// The text of a string as written between its quotes. Half a surrogate pair, which no text can hold, becomes U+FFFD.
fn unescape(written: &[u8]) -> Cow<'_, str> {
    let written = String::from_utf8_lossy(written);
    if !written.contains('\\') {
        return written;
    }
    let mut text = String::with_capacity(written.len());
    let mut rest = written.as_ref();
    let mut units = Vec::new(); // a run of \u escapes, which may hold surrogate pairs
    while let Some(next) = rest.chars().next() {
        if let Some(unit) = rest.strip_prefix("\\u").and_then(|hex| u16::from_str_radix(hex.get(..4)?, 16).ok()) {
            units.push(unit);
            rest = &rest[6..];
            continue;
        }
        text.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        let (c, len) = match (next, rest.as_bytes().get(1)) {
            ('\\', Some(b'b')) => ('\u{8}', 2),
            ('\\', Some(b'f')) => ('\u{c}', 2),
            ('\\', Some(b'n')) => ('\n', 2),
            ('\\', Some(b'r')) => ('\r', 2),
            ('\\', Some(b't')) => ('\t', 2),
            ('\\', Some(&same)) => (char::from(same), 2),
            (c, _) => (c, c.len_utf8()),
        };
        text.push(c);
        rest = &rest[len..];
    }
    text.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    Cow::Owned(text)
}

/// Writes a string with its quotes.
pub fn write_string(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    for c in text.chars() {
        match c {
            '"' => to.extend_from_slice(b"\\\""),
            '\\' => to.extend_from_slice(b"\\\\"),
            '\n' => to.extend_from_slice(b"\\n"),
            '\r' => to.extend_from_slice(b"\\r"),
            '\t' => to.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' => to.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn value_at(payload: &str, path: &str) -> Option<String> {
        let field = find(payload.as_bytes(), &Path::parse(path).unwrap()).unwrap()?;
        Some(payload[field.value].to_owned())
    }

    #[test]
    fn a_field_is_found_however_it_is_nested_and_spaced() {
        assert_eq!(value_at(r#"{"a":1,"b":2}"#, "b").as_deref(), Some("2"));
        assert_eq!(value_at(" { \"a\" : { \"b\" : [ 1 , -2.5e+3 ] } } ", "a.b.1").as_deref(), Some("-2.5e+3"));
        assert_eq!(value_at(r#"{"a":{"b":1}}"#, "b"), None);
        assert_eq!(value_at(r#"{"b":{"b":1}}"#, "b").as_deref(), Some(r#"{"b":1}"#));
        assert_eq!(value_at(r#"["b"]"#, "b"), None);
    }

    #[test]
    fn of_two_fields_with_one_key_the_last_counts() {
        assert_eq!(value_at(r#"{"a":1,"a":2}"#, "a").as_deref(), Some("2"));
        assert_eq!(value_at(r#"{"a":{"b":1},"a":{"c":2}}"#, "a.b"), None);
    }

    #[test]
    fn keys_and_texts_may_be_escaped() {
        let payload = br#"{"te\u006dp": "\u00e9\ud83d\ude00\"\ud83d"}"#;
        let field = find(payload, &Path::parse("temp").unwrap()).unwrap().unwrap();
        assert_eq!(field.text(payload), "é😀\"\u{fffd}");
    }

    #[test]
    fn a_number_must_fit() {
        let number = |text: &str| {
            let payload = format!("[{text}]");
            find(payload.as_bytes(), &Path::parse("0").unwrap()).unwrap().unwrap().number(payload.as_bytes())
        };
        assert_eq!(number("-0.0"), Some(-0.0));
        assert_eq!(number("1E-2"), Some(0.01));
        assert_eq!(number("18446744073709551616"), Some(18_446_744_073_709_551_616.0));
        assert_eq!(number("1e400"), None);
        assert_eq!(number("\"1\""), None);
        assert_eq!(number("true"), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        let path = Path::parse("a").unwrap();
        assert!(find(&nested(MAX_DEPTH), &path).is_ok());
        assert_eq!(find(&nested(MAX_DEPTH + 1), &path), Err(NotJson { at: MAX_DEPTH }));
        assert!(find(&vec![b'['; 1_000_000], &path).is_err());
    }

    #[test]
    fn a_path_is_a_text_or_a_list() {
        let path = |json: &str| serde_json::from_str::<Path>(json).ok();
        assert_eq!(path(r#""a.b""#), Path::from_keys(vec!["a".into(), "b".into()]));
        assert_eq!(path(r#"["a.b"]"#), Path::from_keys(vec!["a.b".into()]));
        assert!(path(r#""a..b""#).is_none() && path(r#""""#).is_none() && path("[]").is_none() && path("1").is_none());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let key = "[ab]|a\\.b|\"|\\\\|é|0|1";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn by_tree<'a>(tree: &'a Value, path: &Path) -> Option<&'a Value> {
        path.0.iter().try_fold(tree, |value, key| match value {
            Value::Object(members) => members.get(key),
            Value::Array(elements) => elements.get(key.parse::<usize>().ok()?),
            _ => None,
        })
    }

    proptest! {
        #[test]
        fn the_walk_finds_what_a_tree_has(
            tree in any_json(),
            paths in prop::collection::vec(prop::collection::vec("[ab]|a\\.b|\"|\\\\|é|0|1", 1..4), 1..6),
            pretty in any::<bool>(),
        ) {
            let payload = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
            let tree: Value = serde_json::from_slice(&payload).unwrap(); // its floats are read back a digit less exact
            let paths: Vec<Path> = paths.into_iter().map(|keys| Path::from_keys(keys).unwrap()).collect();
            let mut found = vec![None; paths.len()];
            find_each(&payload, &paths, &mut found).unwrap();
            for (path, field) in paths.iter().zip(found) {
                let value = field.map(|field| serde_json::from_slice::<Value>(&payload[field.value]).unwrap());
                prop_assert_eq!(value.as_ref(), by_tree(&tree, path));
            }
        }

        #[test]
        fn what_is_json_to_one_is_json_to_the_other(
            tree in any_json(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
                3 => prop::sample::select(b"{}[]\",:\\u0123eE+-.tfn \n".to_vec()), 1 => any::<u8>(),
            ]), 0..4),
        ) {
            let mut payload = serde_json::to_vec(&tree).unwrap();
            for (at, byte) in edits {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            let oracle = std::str::from_utf8(&payload).is_ok()
                && serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_ok();
            prop_assert_eq!(find(&payload, &Path::parse("a").unwrap()).is_ok(), oracle);
        }

        #[test]
        fn a_text_written_is_read_again(text in "\\PC*|[\\x00-\\x1f\"\\\\]*") {
            let mut payload = Vec::new();
            write_string(&text, &mut payload);
            prop_assert_eq!(serde_json::from_slice::<String>(&payload).unwrap(), text.clone());
            let all = Field { key: 0..0, value: 0..payload.len() };
            prop_assert_eq!(all.text(&payload), text);
        }
    }
}
