//! The walk over a payload: every byte once, with a bit for each path that still leads on.

use super::text::is_key;
use super::{Field, MAX_DEPTH, NotJson, Path};
use std::ops::Range;

pub(super) struct Walk<'a> {
    payload: &'a [u8],
    pub(super) at: usize,
    /// Outside strings JSON is ASCII anyway; what is not has yet to prove itself UTF-8.
    ascii: bool,
    paths: &'a [Path],
    found: &'a mut [Option<Field>],
}

impl<'a> Walk<'a> {
    /// At the first byte that is no space.
    pub(super) fn new(payload: &'a [u8], paths: &'a [Path], found: &'a mut [Option<Field>]) -> Self {
        let mut walk = Self { payload, at: 0, ascii: true, paths, found };
        walk.space();
        walk
    }

    /// Behind the value: that nothing but spaces follows, and all of it was UTF-8.
    pub(super) fn finish(mut self) -> Result<(), NotJson> {
        self.space();
        if self.at < self.payload.len() {
            return Err(self.wrong());
        }
        if !self.ascii {
            std::str::from_utf8(self.payload).map_err(|error| NotJson { at: error.valid_up_to() })?;
        }
        Ok(())
    }

    /// Steps over a value. `live` has a bit for each path that leads into it; `depth` is how many keys led here.
    pub(super) fn value(&mut self, live: u64, depth: usize) -> Result<(), NotJson> {
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

    pub(super) fn open(&mut self, depth: usize) -> Result<(), NotJson> {
        if depth == MAX_DEPTH {
            return Err(self.wrong());
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// After a member: whether another follows, or the end.
    pub(super) fn more(&mut self, end: u8) -> Result<bool, NotJson> {
        self.space();
        if self.take(b',') {
            self.space();
            return Ok(true);
        }
        if self.take(end) { Ok(false) } else { Err(self.wrong()) }
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
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
