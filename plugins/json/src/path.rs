//! Where a field of a tree is, and what can be done there.

use jaq_json::{Map, Val};
use serde::{Deserialize, Deserializer, de};
use std::{fmt, rc::Rc};

/// Longer paths lead deeper than a payload may be.
const MAX_KEYS: usize = tidegate_sdk::json::MAX_DEPTH;

/// `"a.b"` is `b` in the object `a`; `"readings.0"` the first of an array; `["a.b", "c"]` has a key with a dot in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(Vec<Key>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Made once, for looking up.
    value: Val,
    text: String,
}

impl Path {
    pub(crate) fn from_keys(keys: impl IntoIterator<Item = String>) -> Option<Self> {
        let keys: Vec<Key> = keys.into_iter().map(|text| Key { value: Val::from(text.clone()), text }).collect();
        let is_sound = (1..=MAX_KEYS).contains(&keys.len()) && keys.iter().all(|key| !key.text.is_empty());
        is_sound.then_some(Self(keys))
    }

    fn parse(text: &str) -> Option<Self> {
        Self::from_keys(text.split('.').map(str::to_owned))
    }

    /// Whether one of the two is the other, or within it.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }

    /// The value here, if there is one.
    pub(crate) fn get<'v>(&self, root: &'v Val) -> Option<&'v Val> {
        self.0.iter().try_fold(root, |value, key| match value {
            Val::Obj(object) => object.get(&key.value),
            Val::Arr(array) => array.get(key.index()?),
            _ => None,
        })
    }

    /// Takes the value out, if there is one.
    pub(crate) fn take(&self, root: &mut Val) -> Option<Val> {
        self.get(root)?; // A tree that has no such field is not copied.
        let (last, before) = self.0.split_last()?;
        let holder = before.iter().try_fold(root, |value, key| match value {
            Val::Obj(object) => Rc::make_mut(object).get_mut(&key.value),
            Val::Arr(array) => Rc::make_mut(array).get_mut(key.index()?),
            _ => None,
        })?;
        match holder {
            Val::Obj(object) => Rc::make_mut(object).shift_remove(&last.value),
            Val::Arr(array) => Some(Rc::make_mut(array).remove(last.index()?)),
            _ => None,
        }
    }

    /// Puts a value here; objects that lead here are made. What stands in the way is said.
    pub(crate) fn put(&self, root: &mut Val, new: Val) -> Result<(), String> {
        let mut place = root;
        for (depth, key) in self.0.iter().enumerate() {
            place = match place {
                Val::Obj(object) => {
                    Rc::make_mut(object).entry(key.value.clone()).or_insert_with(|| Val::obj(Map::default()))
                }
                Val::Arr(array) => {
                    let length = array.len();
                    let element = key.index().and_then(|index| Rc::make_mut(array).get_mut(index));
                    element.ok_or_else(|| {
                        format!("{} is an array of {length}, without `{}`", self.up_to(depth), key.text)
                    })?
                }
                other => return Err(format!("{} is {}, no object", self.up_to(depth), kind(other))),
            };
        }
        *place = new;
        Ok(())
    }

    fn up_to(&self, depth: usize) -> String {
        if depth == 0 {
            return "the payload".to_owned();
        }
        let keys: Vec<&str> = self.0[..depth].iter().map(|key| key.text.as_str()).collect();
        format!("`{}`", keys.join("."))
    }
}

impl Key {
    fn index(&self) -> Option<usize> {
        self.text.parse().ok()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.0.iter().map(|key| key.text.as_str()).collect();
        f.write_str(&keys.join("."))
    }
}

/// What a value is, in words.
pub(crate) fn kind(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "a truth value",
        Val::Num(_) => "a number",
        Val::BStr(_) => "bytes",
        Val::TStr(_) => "a text",
        Val::Arr(_) => "an array",
        Val::Obj(_) => "an object",
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Option<Path>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a path such as \"a.b\" or [\"a\", \"b\"]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Path::parse(text))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut keys: A) -> Result<Self::Value, A::Error> {
                let mut path = Vec::new();
                while let Some(key) = keys.next_element::<String>()? {
                    path.push(key);
                }
                Ok(Path::from_keys(path))
            }
        }

        from.deserialize_any(Visitor)?
            .ok_or_else(|| de::Error::custom(format_args!("a path has 1 to {MAX_KEYS} keys, none of them empty")))
    }
}
