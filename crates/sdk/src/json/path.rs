//! Where a field is.

use super::MAX_DEPTH;
use serde::{Deserialize, Deserializer, de};

/// Where a field is: `"a.b"` is `b` in the object `a`; `"readings.0"` is the first of an array. A key with a dot in it is
/// written as a list: `["a.b", "c"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub(super) Vec<String>);

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

impl std::fmt::Display for Path {
    /// Its keys, with dots between them.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
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
