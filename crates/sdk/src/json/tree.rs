//! Whether a tree of a payload would fit.

/// How much a tree may take, and what its parts take in the worst case, by estimate: for a parser that builds one, so that a
/// payload that anybody can send does not empty the plugin's memory.
#[derive(Clone, Copy, Debug)]
pub struct TreeRoom {
    /// All of it, in bytes, with the payload.
    pub max_bytes: usize,
    /// An object with room for its first members, in bytes. No less than [`value_bytes`](Self::value_bytes).
    pub object_bytes: usize,
    /// Any other value, in bytes.
    pub value_bytes: usize,
    /// The most digits of a number; `usize::MAX` if the parser takes no time for them.
    pub max_digits: usize,
}

impl TreeRoom {
    /// Counts what a tree of this payload, which is JSON, would be made of.
    ///
    /// # Errors
    /// In words why there is no room.
    pub fn check(&self, payload: &[u8]) -> Result<(), String> {
        // So short that no byte can make it too much.
        if payload.len() <= self.max_digits && (payload.len() + 1) * (1 + self.object_bytes) <= self.max_bytes {
            return Ok(());
        }
        let (mut objects, mut values, mut digits) = (0, 1, 0);
        let mut bytes = payload.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => loop {
                    match bytes.next() {
                        Some(b'\\') => {
                            bytes.next();
                        }
                        Some(b'"') | None => break,
                        Some(_) => {}
                    }
                },
                b'{' => objects += 1,
                b'[' | b',' | b':' => values += 1,
                _ => {}
            }
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            if digits > self.max_digits {
                return Err(format!("a number of more than {} digits", self.max_digits));
            }
        }
        if payload.len() + objects * self.object_bytes + values * self.value_bytes > self.max_bytes {
            let length = payload.len();
            return Err(format!("a payload of {length} bytes with {values} values in {objects} objects is too large"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: TreeRoom = TreeRoom { max_bytes: 1000, object_bytes: 100, value_bytes: 10, max_digits: 20 };

    #[test]
    fn what_fits_is_told_by_what_it_is_made_of() {
        let array = |values: usize| format!("[{}]", vec!["1"; values].join(","));
        assert_eq!(ROOM.check(array(80).as_bytes()), Ok(()));
        let words = "a payload of 181 bytes with 91 values in 0 objects is too large";
        assert_eq!(ROOM.check(array(90).as_bytes()), Err(words.to_owned()));
        let objects = format!("[{}]", ["{}"; 10].join(","));
        assert!(ROOM.check(objects.as_bytes()).unwrap_err().ends_with("in 10 objects is too large"));
        // What stands in a text is no value, also behind an escaped quote.
        let text = format!(r#"["\"{}", "{}"]"#, "{".repeat(40), ",".repeat(200));
        assert_eq!(ROOM.check(text.as_bytes()), Ok(()));
    }

    #[test]
    fn a_number_of_too_many_digits_is_told() {
        assert_eq!(ROOM.check("1".repeat(20).as_bytes()), Ok(()));
        assert_eq!(ROOM.check("1".repeat(21).as_bytes()), Err("a number of more than 20 digits".to_owned()));
        assert_eq!(ROOM.check(format!("[{0},{0}]", "1".repeat(20)).as_bytes()), Ok(()));
    }
}
