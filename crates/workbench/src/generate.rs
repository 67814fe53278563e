//! Messages that devices really send, and some that nobody should: made of the messages of samples, the same ones for the same seed.

use bytes::Bytes;
use tidegate_message::Message;

/// A way to make another payload of one.
type Way = fn(&str, &mut Dice) -> Vec<u8>;

/// What a message is made by, and its name in words.
const WAYS: [(&str, Way); 20] = [
    ("as it is", |text, _| text.into()),
    ("another number", |text, dice| numbers(text, |_| dice.number())),
    ("a number of many digits", |text, dice| {
        numbers(text, |_| format!("{}{:019}", 1 + dice.below(9), dice.next() >> 2))
    }),
    ("a number beyond an f64", |text, dice| {
        numbers(text, |_| format!("{}e{}", 1 + dice.below(9), 309 + dice.below(90)))
    }),
    ("a number next to nothing", |text, dice| {
        numbers(text, |_| format!("-{}e-{}", dice.below(10), 300 + dice.below(90)))
    }),
    ("a number with an exponent", |text, dice| {
        numbers(text, |_| format!("{}.{}E+{}", dice.below(9), dice.below(99), dice.below(4)))
    }),
    ("no number of JSON", |text, dice| {
        numbers(text, |_| {
            dice.one(&["NaN", "Infinity", "nan", "070", "70.", ".5", "+5", "0x46", "1_000", "21,5", "-", "1e"])
                .to_owned()
        })
    }),
    ("a text for a number", |text, dice| {
        numbers(text, |old| format!("\"{}\"", if dice.below(2) == 0 { old } else { "warm" }))
    }),
    ("another value for a number", |text, dice| {
        numbers(text, |_| dice.one(&["null", "true", "[]", "{}", "[70]", "{\"v\": 70}", "\"\""]).to_owned())
    }),
    ("a name twice", |text, dice| {
        let Some(open) = text.find('{') else { return text.into() };
        format!("{}\"temp\": {}, {}", &text[..=open], dice.number(), &text[open + 1..]).into()
    }),
    ("names with escapes", |text, _| text.replace("temp", "t\\u0065mp").into()),
    ("a text with escapes", |text, dice| {
        inserted(
            text,
            &format!(
                "\"e\": \"{}\", ",
                dice.one(&["\\n\\t\\\"\\\\", "\\u00e9", "\\ud83d\\ude00", "a/b\\/c", "é", "日本", "\u{1f600}"])
            ),
        )
    }),
    ("half a surrogate pair", |text, dice| {
        inserted(text, &format!("\"e\": \"{}\", ", dice.one(&["\\ud800", "\\udc00x", "\\ud800\\u0041"])))
    }),
    ("deep, within 100", |text, dice| nested(text, 1 + dice.below(99) as usize)),
    ("deep, beyond 200", |text, dice| nested(text, 200 + dice.below(4000) as usize)),
    ("white space", |text, dice| {
        format!("{1}{0}{1}", text.replace(':', " :\t").replace(',', ",\r\n"), dice.one(&["", " ", "\n", "\r\n\t"]))
            .into()
    }),
    ("cut off", |text, dice| text.as_bytes()[..dice.below(text.len() as u64 + 1) as usize].into()),
    ("something behind", |text, dice| format!("{text}{}", dice.one(&["\0", "}", ",", " x", "{}", "\u{feff}"])).into()),
    ("a comma too many", |text, _| text.replace('}', ",}").into()),
    ("a byte that is another", |text, dice| {
        let mut bytes = text.as_bytes().to_vec();
        if !bytes.is_empty() {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.next() as u8;
        }
        bytes
    }),
];

/// Messages without end, with the name of what each was made by.
pub(crate) struct Generator<'a> {
    of: &'a [Message],
    dice: Dice,
    made: usize,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(of: &'a [Message], seed: u64) -> Self {
        Self { of, dice: Dice(seed), made: 0 }
    }
}

impl Iterator for Generator<'_> {
    type Item = (&'static str, Message);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, way) = WAYS[self.made % WAYS.len()];
        let mut message = self.of.get(self.made / WAYS.len() % self.of.len().max(1))?.clone();
        self.made += 1;
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        message.payload = Bytes::from(way(&text, &mut self.dice));
        Some((name, message))
    }
}

/// Numbers out of a seed (SplitMix64, Steele and others, OOPSLA 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len() as u64) as usize]
    }

    fn number(&mut self) -> String {
        let whole = self.below(400) as i64 - 100;
        match self.below(3) {
            0 => whole.to_string(),
            1 => format!("{whole}.{}", self.below(10)),
            _ => format!("{whole}.{:03}", self.below(1000)),
        }
    }
}

/// Every number behind a colon becomes another text.
fn numbers(text: &str, mut other: impl FnMut(&str) -> String) -> Vec<u8> {
    let mut made = String::new();
    let mut rest = text;
    while let Some(colon) = rest.find(':') {
        let start = colon + 1 + rest[colon + 1..].len() - rest[colon + 1..].trim_start().len();
        made.push_str(&rest[..start]);
        rest = &rest[start..];
        let len = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
        if len > 0 {
            made.push_str(&other(&rest[..len]));
        }
        rest = &rest[len..];
    }
    made.push_str(rest);
    made.into()
}

/// A member in front of the others.
fn inserted(text: &str, member: &str) -> Vec<u8> {
    match text.find('{') {
        Some(open) => format!("{}{member}{}", &text[..=open], &text[open + 1..]).into(),
        None => text.into(),
    }
}

fn nested(text: &str, levels: usize) -> Vec<u8> {
    inserted(text, &format!("\"deep\": {}{}, ", "[".repeat(levels), "]".repeat(levels)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{QoS, Topic};

    #[test]
    fn each_way_makes_what_it_says_and_the_same_for_the_same_seed() {
        let message = Message::new(Topic::new("dev/1").unwrap(), r#"{"id": "a", "temp": 70}"#, QoS::AtLeastOnce);
        let of = [message];
        let all = |seed| Generator::new(&of, seed).take(200).collect::<Vec<_>>();
        let payloads = |seed| all(seed).into_iter().map(|(_, message)| message.payload).collect::<Vec<_>>();
        assert_eq!(payloads(1), payloads(1));
        assert_ne!(payloads(1), payloads(2));
        for (name, message) in all(1) {
            let is_json = std::str::from_utf8(&message.payload).is_ok()
                && serde_json::from_slice::<serde::de::IgnoredAny>(&message.payload).is_ok();
            let must = match name {
                // Parsers differ in these, or chance decides.
                "a number beyond an f64" | "half a surrogate pair" | "deep, beyond 200" => continue,
                "cut off" | "a byte that is another" => continue,
                "no number of JSON" | "something behind" | "a comma too many" => false,
                _ => true,
            };
            assert_eq!(is_json, must, "{name}: {:?}", message.payload);
        }
    }
}
