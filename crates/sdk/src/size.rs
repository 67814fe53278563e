//! Sizes, written as the gateway's own are.

use serde::{Deserialize, Deserializer, de};

/// A number of bytes, written `"512B"`, `"64KiB"` or `"16MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// So many.
    pub bytes: usize,
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || format!("`{text}` is no size; write a whole number with B, KiB or MiB, such as \"64KiB\"");
        parse(&text).map(|bytes| Self { bytes }).ok_or_else(|| de::Error::custom(wrong()))
    }
}

fn parse(text: &str) -> Option<usize> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_as_in_the_gateways_configuration() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("3 MiB", 3 << 20)] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for wrong in
            ["", "64", "KiB", "64KB", "64kib", "-1B", "1.5MiB", "99999999999999999999B", "99999999999999999MiB"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
