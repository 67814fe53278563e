//! JSON as a script's values, and back.

use crate::language::kind;
use rhai::{Array, Dynamic, FLOAT, INT, Map};
use tidegate_sdk::{
    decimal::{Decimal, write_shortest},
    json::{self, Field, MAX_DEPTH, TreeRoom, write_string},
};

/// The default limit of a plugin's memory is 16 MiB.
const ROOM: TreeRoom = TreeRoom { max_bytes: 5 << 20, object_bytes: 512, value_bytes: 160, max_digits: usize::MAX };

/// A number that neither 64 bits of a whole number nor those of a float hold: kept as it is written. A script can send it on,
/// and not compute with it.
#[derive(Clone)]
pub(crate) struct Number(String);

/// The value that a text says.
pub(crate) fn read(payload: &[u8]) -> Result<Dynamic, String> {
    json::find_each(payload, &[], &mut []).map_err(|error| error.told(payload))?;
    ROOM.check(payload)?;
    Ok(Reader { payload, at: 0 }.value())
}

/// Of what is known to be JSON, and not too deep.
struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Dynamic {
        match self.next() {
            b'"' => Dynamic::from(self.text()),
            b'{' => self.object().into(),
            b'[' => self.array().into(),
            b't' => self.word(4, Dynamic::TRUE),
            b'f' => self.word(5, Dynamic::FALSE),
            b'n' => self.word(4, Dynamic::UNIT),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Map {
        let mut object = Map::new();
        self.at += 1;
        while self.next() != b'}' {
            let key = self.text();
            self.next(); // `:`
            self.at += 1;
            object.insert(key.into(), self.value());
            if self.next() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        object
    }

    fn array(&mut self) -> Array {
        let mut array = Array::new();
        self.at += 1;
        while self.next() != b']' {
            array.push(self.value());
            if self.next() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        array
    }

    fn text(&mut self) -> String {
        self.next();
        let start = self.at;
        self.at += 1;
        loop {
            match self.payload.get(self.at) {
                Some(b'\\') => self.at += 2,
                Some(b'"') | None => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Field { key: 0..0, value: start..self.at }.text(self.payload).into_owned()
    }

    fn number(&mut self) -> Dynamic {
        let start = self.at;
        let is_of_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        self.at += self.payload[start..].iter().take_while(is_of_number).count();
        let text = String::from_utf8_lossy(&self.payload[start..self.at]);
        if let Ok(whole) = text.parse::<INT>() {
            return whole.into();
        }
        let float = text.parse::<FLOAT>().unwrap_or(FLOAT::NAN);
        let same = Decimal::parse(&text).is_some_and(|exact| Decimal::of_f64(float) == Some(exact));
        if same { float.into() } else { Dynamic::from(Number(text.into_owned())) }
    }

    fn word(&mut self, length: usize, value: Dynamic) -> Dynamic {
        self.at += length;
        value
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> u8 {
        while self.payload.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.payload.get(self.at).copied().unwrap_or(b']')
    }
}

/// The value as JSON without white space. What JSON cannot say is told.
pub(crate) fn written(value: &Dynamic) -> Result<Vec<u8>, String> {
    let mut to = Vec::with_capacity(256);
    write(value, 0, &mut to)?;
    Ok(to)
}

fn write(value: &Dynamic, depth: usize, to: &mut Vec<u8>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("deeper than {MAX_DEPTH} levels"));
    }
    if let Ok(whole) = value.as_int() {
        to.extend_from_slice(whole.to_string().as_bytes());
    } else if let Ok(number) = value.as_float() {
        if !write_shortest(number, to) {
            return Err(format!("{number} is no number of JSON"));
        }
    } else if let Ok(is) = value.as_bool() {
        to.extend_from_slice(if is { b"true" } else { b"false" });
    } else if value.is_unit() {
        to.extend_from_slice(b"null");
    } else if let Ok(text) = value.as_immutable_string_ref() {
        write_string(&text, to);
    } else if let Ok(c) = value.as_char() {
        write_string(c.encode_utf8(&mut [0; 4]), to);
    } else if let Ok(array) = value.as_array_ref() {
        to.push(b'[');
        for (i, element) in array.iter().enumerate() {
            if i > 0 {
                to.push(b',');
            }
            write(element, depth + 1, to)?;
        }
        to.push(b']');
    } else if let Ok(map) = value.as_map_ref() {
        to.push(b'{');
        for (i, (key, member)) in map.iter().enumerate() {
            if i > 0 {
                to.push(b',');
            }
            write_string(key, to);
            to.push(b':');
            write(member, depth + 1, to)?;
        }
        to.push(b'}');
    } else if let Some(number) = value.read_lock::<Number>() {
        to.extend_from_slice(number.0.as_bytes());
    } else {
        return Err(format!("JSON cannot say {}", kind(value)));
    }
    Ok(())
}
